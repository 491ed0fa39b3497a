"""A project that uses every word of the language once."""

from __future__ import annotations

from pathlib import Path

from mappings.engine import check_project, load_project
from tests.mappings.workbench import CATALOGUE, folder, messages

WHOLE = """
# yaml-language-server: $schema=schema/project.schema.json
language: 1
site: demo
site_url: https://moodle.example.org
time_zone: Africa/Nairobi
country: KE
courses: {ids: [7], categories: [3], shortname_like: "CHW-*", only_running: true, custom_field: {region: Siaya}}
code_lists: {gender: {F: female, M: male, otherwise: unknown}}
lookups: {facility: {file: lookups/facility.csv, key: district, value: site_code, otherwise: none}}
names: {filters: true, language: sw}
owner: {group: Field coaches}
parked_owner: {location: parked}
guards: {leavers_percent: 30, leavers_people: 5, run_percent: 10, run_cases: 20}
intervals: {people: 1, enrolments: 1, grades: 6, courses: 24, engagement: 24, assignments: 2}
moodle_key_property: moodle_key
"""
LISTS = """
# yaml-language-server: $schema=schema/code_lists.schema.json
language: 1
code_lists: {skills: {a: wound_care, b: antenatal}}
"""
EVERYTHING = """
# yaml-language-server: $schema=schema/mapping.schema.json
language: 1
enabled: true
case_type: student
description: {en: Learners., fr: Apprenants.}
source: users
include:
  - {source: roles, any_of: [student]}
  - {source: username, is_not: guest}
exclude:
  - {source: username, like: "test.*"}
  - {source: city, none_of: [Kisumu, Bondo]}
external_id: "{site}-user-{id}"
case_name: "{firstname} {lastname}"
owner:
  first_of:
    - {user: profile.chw}
    - {group: groups}
    - {location: profile.district, lookup: facility}
  otherwise: project
  write: once
properties:
  first_name: {source: firstname, transform: [trim], personal: true, required: true, label: Name, group: Person}
  phone:
    first_of: [phone1, phone2]
    transform: [phone]
    personal: true
    when_invalid: clear
    data_type: phone_number
  gender: {source: profile.gender, transform: [{code_list: gender}], default: unknown, data_type: select}
  skills: {source: profile.skills, transform: [{split: ","}, {code_list: skills}, {join: " "}], when_blank: keep}
  district: {source: profile.district, when_not_sent: clear, write: once}
  quiet:
    source: lastaccess
    transform: [days_ago, {bands: {active: 7, otherwise: lost}}]
    default: never
    when_not_sent: keep
  link: {template: "{site_url}/user/profile.php?id={id}", description: {en: The profile., fr: Le profil.}}
  status:
    cases:
      - {when: [{source: suspended, is: true}, {source: id, at_least: 1}], value: off}
    otherwise: "on"
  seen: {cases: [{when: {source: lastaccess, is_empty: true}, value: "no"}], otherwise: "yes"}
  young: {cases: [{when: {source: id, below: 2000}, value: "yes"}], otherwise: "no"}
  sms_live: {value: "no"}
  old_code: {retire: clear}
ignore_changes: [quiet]
when_left: {set: {status: left}, park: true}
when_excluded: {set: {status: withdrawn}}
recheck_daily: true
existing_cases: ignore
tests:
  - name: a learner
    today: 2025-10-12
    given: {id: 1042, username: amina, firstname: Amina, lastname: Otieno, city: Bondo, roles: [student],
            groups: [], phone1: "0722 000 111", suspended: false, lastaccess: 1760000000,
            profile: {gender: X, skills: "b,a", district: Bondo, chw: ""}}
    expect:
      external_id: demo-user-1042
      case_name: Amina Otieno
      owner: location:siaya-02
      properties:
        {gender: unknown, skills: antenatal wound_care, quiet: active, status: "on", phone: "+254722000111"}
      not_sent: [old_code]
  - name: a test account
    today: 2025-10-12
    given: {id: 7, username: test.one, city: Bondo, roles: [student]}
    expect: {excluded: true}
"""
BELOW = """
# yaml-language-server: $schema=schema/mapping.schema.json
language: 1
case_type: enrolment
source: enrolments
external_id: "{site}-enrol-{course.id}-{user.id}"
case_name: "{course.fullname}"
owner: {same_as: student, write: once}
indices:
  student:
    case_type: student
    external_id: "{site}-user-{user.id}"
    relationship: extension
    when_parent_unknown: wait
properties:
  status: status
  grades:
    one_property_per:
      each: items
      key: item.id
      name: "grade_{key}"
      source: grade.percent
      transform: [{number: 0}]
when_left: {close: true}
when_course_ends: {set: {status: ended}}
tests:
  - name: one graded activity
    given: {course: {id: 7, fullname: Basics}, user: {id: 1042}, status: active,
            items: [{item: {id: 55}, grade: {percent: 80.4}}]}
    expect: {indices: {student: demo-user-1042}, properties: {grade_55: "80"}}
"""


def test_every_word_of_the_language_together(tmp_path: Path) -> None:
    """A project that uses each word once loads without a finding, and its tests hold."""
    folder(
        tmp_path, {"student.yaml": EVERYTHING, "enrolment.yaml": BELOW, "code_lists.yaml": LISTS}, project=WHOLE
    )
    assert "" == messages(tmp_path)
    project = load_project(tmp_path, CATALOGUE)
    assert ["student", "enrolment"] == [mapping.name for mapping in project.mappings]
    assert 3 == check_project(tmp_path, CATALOGUE).tests_run
