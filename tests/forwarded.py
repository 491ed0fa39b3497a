"""What CommCare's data forwarding sends, field by field as its generators make it; of made-up people.

A case is that of its API v0.5 without the links that lead to it, a form that of its form API; a form in short has
only ids. Times have six digits and a Z, but `date_opened` inside the properties has three and no zone.
"""

from __future__ import annotations

from typing import Any

FORWARDER = {
    "User-Agent": "python-requests/2.32.4",
    "Accept-Encoding": "gzip, deflate",
    "Accept": "*/*",
    "Connection": "keep-alive",
    "Content-Type": "application/json",
}
"""The headers of every post; with a case comes `server-modified-on`, with a form `received-on`."""

CASE: dict[str, Any] = {
    "domain": "demo-space",
    "case_id": "c-1",
    "user_id": "coach7",
    "closed": False,
    "xform_ids": ["f-1"],
    "date_closed": None,
    "date_modified": "2026-11-29T09:59:58.123000Z",
    "server_date_modified": "2026-11-29T10:00:01.500000Z",
    "properties": {
        "coach_feedback": "QanaryNote3",
        "last_visit": "2026-11-28",
        "score": "",
        "external_id": "test-enrol-2-7",
        "owner_id": "5f0c1a7be2d94c3fa86b1d0e9c7a4b21",
        "case_name": "QanaryFirst0",
        "case_type": "enrolment",
        "date_opened": "2026-11-21T08:30:00.250",
    },
    "indices": {"parent": {"case_type": "student", "case_id": "c-0", "relationship": "extension"}},
    "attachments": {},
}
CLOSED: dict[str, Any] = {
    **CASE,
    "closed": True,
    "xform_ids": ["f-1", "f-2"],
    "date_closed": "2026-11-29T10:05:00.000000Z",
    "date_modified": "2026-11-29T10:05:00.000000Z",
    "server_date_modified": "2026-11-29T10:05:02.000001Z",
    "properties": {**CASE["properties"], "external_id": None},
    "indices": {},
    "attachments": {
        "photo": {
            "url": "https://commcare.example.org/a/demo-space/api/case/attachment/c-1/photo",
            "content_type": "image/jpeg",
        }
    },
}
_META: dict[str, Any] = {
    "appVersion": 'CommCare Android, version "2.57.1"(480112). App v12.',
    "app_build_version": 12,
    "commcare_version": "2.57.1",
    "deviceID": "commcare_0815",
    "drift": "0",
    "geo_point": None,
    "instanceID": "f-9",
    "timeEnd": "2026-11-29T09:59:58.123000Z",
    "timeStart": "2026-11-29T09:58:00.000000Z",
    "userID": "coach7",
    "username": "coach7",
}
_SECOND = {
    "@case_id": "c-2",
    "@date_modified": "2026-11-29T09:59:58.123000Z",
    "@user_id": "coach7",
    "@xmlns": "http://commcarehq.org/case/transaction/v2",
    "create": {"case_name": "QanaryFirst0", "case_type": "visit", "owner_id": "coach7"},
    "index": {"parent": {"#text": "c-1", "@case_type": "enrolment", "@relationship": "child"}},
}
FORM: dict[str, Any] = {
    "app_id": "0c5d7f8e9a1b4c2d8e3f6a7b9c0d1e2f",
    "archived": False,
    "attachments": {
        "form.xml": {
            "content_type": "text/xml",
            "length": 1544,
            "url": "https://commcare.example.org/a/demo-space/api/form/attachment/f-9/form.xml",
        }
    },
    "build_id": "a1b2c3d4e5f60718293a4b5c6d7e8f90",
    "domain": "demo-space",
    "edited_by_user_id": None,
    "edited_on": None,
    "form": {
        "#type": "data",
        "@name": "Home visit",
        "@uiVersion": "1",
        "@version": "12",
        "@xmlns": "http://openrosa.org/formdesigner/3B7A0C5E-1F2D-4A6B-9C8E-7D5F3A1B2C4D",
        "case": {
            "@case_id": "c-1",
            "@date_modified": "2026-11-29T09:59:58.123000Z",
            "@user_id": "coach7",
            "@xmlns": "http://commcarehq.org/case/transaction/v2",
            "update": {"coach_feedback": "QanaryNote3"},
        },
        "meta": {"@xmlns": "http://openrosa.org/jr/xforms", **_META},
        "visits": [{"item": {"case": _SECOND}}, {"item": {"case": {**_SECOND, "@case_id": "c-1"}}}],
        "note": "QanaryNote3",
    },
    "id": "f-9",
    "indexed_on": "2026-11-29T10:00:03.000000Z",
    "initial_processing_complete": True,
    "is_phone_submission": True,
    "metadata": {**_META, "location": None},
    "problem": None,
    "received_on": "2026-11-29T10:00:02.000000Z",
    "resource_uri": "",
    "server_modified_on": "2026-11-29T10:00:02.250000Z",
    "submit_ip": "203.0.113.7",
    "type": "data",
    "uiversion": "1",
    "version": "12",
}
_OUR_META = {
    "appVersion": None,
    "app_build_version": None,
    "commcare_version": None,
    "deviceID": "moodle-commcare/0.1 batch=20261129-1",
    "geo_point": None,
    "instanceID": "f-10",
    "timeEnd": "2026-11-29T10:10:00.000000Z",
    "timeStart": "2026-11-29T10:10:00.000000Z",
    "userID": "ours0815",
    "username": "sync@example.org",
}
OUR_FORM: dict[str, Any] = {
    **FORM,
    "app_id": None,
    "build_id": None,
    "form": {
        "#type": "system",
        "@uiVersion": "1",
        "@version": "1",
        "@xmlns": "http://commcarehq.org/case_api",
        "case": [{**_SECOND, "@case_id": "c-1", "@user_id": "ours0815"}, {**_SECOND, "@user_id": "ours0815"}],
        "meta": {"@xmlns": "http://openrosa.org/jr/xforms", **_OUR_META},
    },
    "id": "f-10",
    "is_phone_submission": False,
    "metadata": {**_OUR_META, "location": None},
    "type": "system",
    "version": "1",
}
"""The form that CommCare makes of a bulk write of ours."""

SHORT: dict[str, Any] = {
    "form_id": "f-9",
    "received_on": "2026-11-29T10:00:02.000000Z",
    "case_ids": ["c-1", "c-2"],
}
