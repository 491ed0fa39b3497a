"""Where things are switched on in CommCare HQ, in the words of its English menus."""

from __future__ import annotations

from typing import Final

WEB_USERS: Final = "CommCare HQ > Users > Web Users"
ROLES: Final = "CommCare HQ > Users > Roles & Permissions"
API_KEYS: Final = "CommCare HQ > My Account > API Keys"
SUBSCRIPTION: Final = "CommCare HQ > Project Settings > Current Subscription"
MOBILE_WORKERS: Final = "CommCare HQ > Users > Mobile Workers"
GROUPS: Final = "CommCare HQ > Users > Groups"
LOCATIONS: Final = "CommCare HQ > Users > Organization Structure"
LEVELS: Final = "CommCare HQ > Users > Organization Levels"
DICTIONARY: Final = "CommCare HQ > Data > Data Dictionary"
CONNECTIONS: Final = "CommCare HQ > Project Settings > Connection Settings"
FORWARDING: Final = "CommCare HQ > Project Settings > Data Forwarding"
