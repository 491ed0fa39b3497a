"""What an implementer can do about a value that could not be used, by the reason it is listed with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

REMEDIES: Final[Mapping[str, str]] = {
    "blank": "Fill the field in Moodle, or take `required` (or `when_blank: reject`) out of the mapping.",
    "not_sent": "Show the field to the service account: telephone numbers need the site setting *Show user "
    "identity*, other fields a right of its role (`moodle-commcare check` says which). Or say "
    "`when_not_sent: keep`.",
    "too_long": "Shorten what `case_name` or `external_id` are made of.",
    "invalid_phone": "Correct the number in Moodle; a number of another country needs its country code.",
    "invalid_email": "Correct the address in Moodle.",
    "over_length": "Shorten the text in Moodle, allow more with `length`, or cut it with `longer: cut`.",
    "not_a_number": "Correct the value in Moodle, or take `number` or `bands` out when texts are meant.",
    "not_a_date": "Correct the value in Moodle, or say in `format` how dates are typed.",
    "unknown_code": "Add the code to the list or table, or add `otherwise`; `mappings coverage` names them.",
    "unexpected_list": "End the transform with `join`, `first` or `count`.",
    "unexpected_value": "Use a field that holds one value; `mappings fields` lists them.",
    "name_collision": "Give the elements different words in the code list of the key.",
    "illegal_name": "Use a code list for the key, with words of letters, digits and _.",
    "missing_element_key": "Use a key that every element has, such as `item.id`.",
    "transform_failed": "Show the reason and the mapping to the developer who wrote the transform.",
    "not_looked_at": "Check again without `--no-plugins`.",
}
"""For each reason in REASONS, one or two sentences."""
