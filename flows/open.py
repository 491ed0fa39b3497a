"""From settings to a world that a run can work with."""

from __future__ import annotations

import shlex
from datetime import tzinfo
from pathlib import Path

from adaptors.commcare.client import CommCareClient
from adaptors.commcare.connection import Account, Connection
from adaptors.http import Transport, network
from adaptors.moodle.client import Login, MoodleClient
from adaptors.pace import Clock
from flows.catalogue import field_catalogue
from flows.clock import SystemClock, boot
from flows.errors import UsageError
from flows.expiry import expiries
from flows.limits import commcare_limits, moodle_limits
from flows.redact import learn
from flows.settings import Settings
from flows.steps.clocks import STEP
from flows.world import Books, World
from mappings.engine import Project, load_project
from state import StateError, Store
from state.care import AFTER_OTHERS, BEGUN_AT, DAY, FIRST, NEW_BOOKS
from state.database import file_of
from state.key import SIZE as KEY_SIZE
from state.key import read_or_make_keys

JUST_MADE = 60.0  # seconds


def open_world(
    settings: Settings,
    *,
    clock: Clock | None = None,
    moodle: Transport | None = None,
    commcare: Transport | None = None,
) -> World:
    """Load the mappings, open the books, prepare both clients; transports are for tests.

    Raises MappingError, StateError (also when the books belong to another Moodle or project space), and UsageError
    when this machine's clock is not that of the database.
    """
    project = open_project(settings)
    books = Books(lambda: open_store(settings) if clock else _in_time(open_store(settings), SystemClock()))
    return _world(settings, project, books, (clock or SystemClock(), moodle, commcare))


def open_without_books(
    settings: Settings,
    project: Project,
    *,
    clock: Clock | None = None,
    moodle: Transport | None = None,
    commcare: Transport | None = None,
) -> World:
    """Prepare for a look that leaves no trace: the books are empty and in memory only."""
    books = Books(empty_store)
    return _world(settings, project, books, (clock or SystemClock(), moodle, commcare))


def open_preview(settings: Settings) -> World:
    """Prepare for a preview: the books as they are, or empty ones in memory when there are none yet."""
    project = open_project(settings)
    if not has_books(settings):
        return open_without_books(settings, project)
    return _world(settings, project, Books(lambda: open_store(settings)), (SystemClock(), None, None))


def has_books(settings: Settings) -> bool:
    """Say whether a run has begun books here.

    Raises StateError for a STATE_URL that is none, and where books are gone that backups of them tell of: those of
    a first run would know nothing of what was sent, of who has left, and of who was erased.
    """
    if Store.exists(settings.state_url):
        return True
    backup = Store.newest_backup(settings.state_url)
    if backup:
        raise StateError(
            f"The books {file_of(settings.state_url)} are not there, or empty, and there are backups of them. Put "
            f"the newest one back: `moodle-commcare state restore {shlex.quote(str(backup))}`. To begin anew all "
            f"the same, move the folder {backup.parent} to another place first."
        )
    return False


def _world(
    settings: Settings, project: Project, books: Books, given: tuple[Clock, Transport | None, Transport | None]
) -> World:
    clock, moodle, commcare = given
    return World(
        moodle=open_moodle(settings, clock, moodle, zone=project.time_zone),
        commcare=open_commcare(settings, clock, commcare, zone=project.time_zone),
        books=books,
        project=project,
        clock=clock,
        target=target(settings),
        site_url=project.site_url or settings.moodle_url,
        in_doubt_rest=settings.in_doubt_rest_s,
        lease_ttl=settings.lease_ttl_s,
        history_kept=settings.state_history_days * DAY,
        boot=boot(),
        expiries=expiries(settings),
        expiry_days=settings.nudge_expiry_days,
    )


def open_project(settings: Settings) -> Project:
    """Load and check the mappings; raises MappingError with everything that is wrong."""
    return load_project(Path(settings.mappings_dir), field_catalogue())


def open_store(settings: Settings, *, any_moodle: bool = False, lost_key: bool = False) -> Store:
    """Open the books and make sure that they do not belong to other systems; a first run binds new ones.

    `any_moodle`: only those of CommCare have to be the same. `lost_key`: books whose key file is not there get a
    new one; otherwise StateError, since with it everything would be sent once more without anybody's word.
    StateError also where the books are gone and their backups are not.
    """
    path = Path(settings.state_key_file)
    has_books(settings)
    if not (lost_key or path.exists()):
        _refuse_without_key(settings, path)
    keys = read_or_make_keys(path)
    store = Store.open(settings.state_url, key=keys, begun=_begun(settings.state_url, path))
    if not store.has_known_key and keys != (now := read_or_make_keys(path)):  # rotated between both
        store.close()
        store = Store.open(settings.state_url, key=now)
    try:
        moodle_url, *commcare = target(settings)
        store.check_target(None if any_moodle else moodle_url, *commcare)
    except StateError:
        store.close()
        raise
    return store


def _refuse_without_key(settings: Settings, path: Path) -> None:
    """Raise StateError when the books that are there were made with a key.

    A server is not asked before it is opened, which makes new books: these begin as they would with a key.
    """
    if not Store.exists(settings.state_url):
        return
    with Store.open(settings.state_url, key=bytes(KEY_SIZE), begun=_begun(settings.state_url, path)) as store:
        if store.has_other_key:
            raise StateError(
                f"The key file {settings.state_key_file} is not there, and the books were made with it. Put it "
                "back from where its copy is. Lost for good: `moodle-commcare state rotate-key --lost`; then the "
                "next run sends every case once more, and who was erased has to be erased again."
            )


def _begun(url: str, key_file: Path) -> dict[str, str]:
    """Return what new books begin with: when that is, and whether others were here before them.

    Then their key is there beside them. A key that was just made is one for these, and one from elsewhere is no
    sign: a container's secret is there before any books.
    """
    now, file = SystemClock().now(), file_of(url)
    beside = file is not None and key_file.absolute().parent == file.absolute().parent
    has_old_key = beside and key_file.exists() and key_file.stat().st_mtime < now - JUST_MADE
    return {BEGUN_AT: str(now), NEW_BOOKS: AFTER_OTHERS if has_old_key else FIRST}


def _in_time(store: Store, clock: Clock) -> Store:
    """Return the books, unless this machine's clock differs from the database's: leases and rests go by it."""
    there = store.server_time()
    ahead = 0.0 if there is None else clock.now() - there
    if abs(ahead) <= STEP:
        return store
    store.close()
    raise UsageError(
        f"The clock of this machine is {abs(ahead):.0f} seconds {'ahead of' if ahead > 0 else 'behind'} that of "
        "the database. Machines that share books need the same time: let it be synchronised (NTP)."
    )


def empty_store() -> Store:
    """Open books in memory: nothing is known yet, and nothing is kept."""
    return Store.open("sqlite://", key=bytes(32))


def target(settings: Settings) -> tuple[str, str, str]:
    """Return what the books are about: both addresses and the project space."""
    return settings.moodle_url, settings.commcare_url, settings.commcare_domain


def open_moodle(
    settings: Settings,
    clock: Clock,
    transport: Transport | None = None,
    attempts: int = 5,
    zone: tzinfo | None = None,
) -> MoodleClient:
    """Prepare the Moodle client; nothing is sent yet. With a time zone it keeps the quiet hours."""
    login = Login(
        settings.moodle_token.get_secret_value(),
        settings.moodle_username,
        settings.moodle_password.get_secret_value(),
        settings.moodle_service,
        fetched=learn,
    )
    limits = moodle_limits(settings, zone)
    return MoodleClient(
        settings.moodle_url,
        login,
        clock=clock,
        transport=transport or network(settings.moodle_ca_file),
        attempts=attempts,
        limits=limits,
    )


def open_commcare(
    settings: Settings,
    clock: Clock,
    transport: Transport | None = None,
    attempts: int = 5,
    zone: tzinfo | None = None,
) -> CommCareClient:
    """Prepare the CommCare client; nothing is sent yet. With a time zone it keeps the quiet hours."""
    account = Account(
        url=settings.commcare_url,
        domain=settings.commcare_domain,
        username=settings.commcare_username,
        api_key=settings.commcare_api_key.get_secret_value(),
        password=settings.commcare_password.get_secret_value(),
    )
    return CommCareClient(
        Connection(
            account,
            clock=clock,
            transport=transport or network(settings.commcare_ca_file),
            attempts=attempts,
            limits=commcare_limits(settings, zone),
        )
    )
