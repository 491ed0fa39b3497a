"""Where things are switched on in Moodle, in the words of its English menus."""

from __future__ import annotations

from typing import Final

_ADMIN: Final = "Site administration"
SERVICES: Final = f"{_ADMIN} > Server > Web services"
EXTERNAL_SERVICES: Final = f"{SERVICES} > External services"
FUNCTIONS_SCREEN: Final = f"{EXTERNAL_SERVICES} > Functions"
PROTOCOLS: Final = f"{SERVICES} > Manage protocols"
TOKENS: Final = f"{SERVICES} > Manage tokens"
FEATURES: Final = f"{_ADMIN} > General > Advanced features"
NEW_ACCOUNT: Final = f"{_ADMIN} > Users > Accounts > Add a new user"
ROLES: Final = f"{_ADMIN} > Users > Permissions > Define roles"
SITE_ROLES: Final = f"{_ADMIN} > Users > Permissions > Assign system roles"
IDENTITY: Final = f"{_ADMIN} > Users > Permissions > User policies > Show user identity"
HIDDEN_FIELDS: Final = f"{_ADMIN} > Users > Permissions > User policies > Hide user fields"
USERS: Final = f"{_ADMIN} > Users > Accounts > Browse list of users"
CONTACTS: Final = f"{_ADMIN} > Appearance > Courses > Course contacts"
CACHES: Final = f"{_ADMIN} > Development > Purge caches"
PROFILE_FIELDS: Final = f"{_ADMIN} > Users > Accounts > User profile fields"
WEBHOOKS: Final = f"{_ADMIN} > Server > Webhooks"
HIDDEN_TOTALS: Final = (
    "the course's Grades > Course grade settings > User report > Hide totals if they contain hidden items"
)
