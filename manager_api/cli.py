"""`sekisho-manager`: the server and what has to be done on its own machine."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import click
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy.exc import SQLAlchemyError

from manager_api import passwords, server
from manager_api.domain.secrets import parse_duration
from manager_api.manager import Manager, open_manager
from manager_api.operations import access
from manager_api.settings import Settings
from manager_api.store import accounts
from manager_api.tls import MAX_CSR_BYTES, open_authority

DEFAULT_DATA_DIR = "/var/lib/sekisho-manager"
_CLI = "the command line"

data_dir = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="SEKISHO_MANAGER_DATA_DIR",
    default=DEFAULT_DATA_DIR,
    show_default=True,
    show_envvar=True,
    help="Directory of the database and the keys; made if it is missing.",
)
database = click.option(
    "--database",
    envvar="SEKISHO_MANAGER_DATABASE",
    show_envvar=True,
    metavar="URL",
    help="Database to use instead of the SQLite file in the data directory, as in postgresql://user:password@host/name.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """The manager of Sekisho: rule sets, policy, appliances and events, as a REST API and a page.

    The first start of `serve` makes what is needed: a certificate authority, the server's certificate, the
    key that policies are signed with, the database, and one administrator whose password is printed once.

    \b
    Examples:
      sekisho-manager serve --data-dir /srv/sekisho --listen 192.0.2.7
      sekisho-manager token create --for 30m
      sekisho-manager key create ci --role operator
    """


@main.command()
@data_dir
@database
@click.option("--listen", default="127.0.0.1", show_default=True, help="Address that both ports listen on.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=8443,
    show_default=True,
    help="Port for people and enrolment.",
)
@click.option(
    "--appliance-port",
    type=click.IntRange(1, 65535),
    default=8444,
    show_default=True,
    help="Port for appliances.",
)
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="NAME",
    help="Further name or address clients dial; may be repeated.",
)
@click.option(
    "--events-max",
    type=click.IntRange(min=1_000),
    default=5_000_000,
    show_default=True,
    help="Events kept at most.",
)
@click.option(
    "--events-max-age",
    default="90d",
    show_default=True,
    metavar="DURATION",
    help="How long events are kept: 90s, 30m, 1h, 7d.",
)
@click.option(
    "--first-password-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the first administrator's password to this file (0600) instead of printing it.",
)
def serve(
    data_dir: Path, database: str | None, listen: str, port: int, appliance_port: int, names: tuple[str, ...],
    events_max: int, events_max_age: str, first_password_file: Path | None,
) -> None:  # fmt: skip
    """Run the manager until SIGTERM or SIGINT.

    Prints its address, the fingerprint of its certificate authority (appliances pin it when they enrol) and,
    at the first start, the administrator's password. Logs go to standard error.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("uvicorn.error", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with _clear_errors():
        settings = Settings(
            data_dir, database, listen, port, appliance_port, names,
            events_max=events_max, events_max_age_days=_duration(events_max_age) / 86_400,
        )  # fmt: skip
        manager = open_manager(settings)
        password = _first_administrator(manager)
        if password and first_password_file is not None:
            first_password_file.touch(mode=0o600)
            first_password_file.write_text(f"{password}\n")

        def announce() -> None:
            host = f"[{listen}]" if ":" in listen else listen
            lines = [
                f"page and API      https://{host}:{port}/",
                f"appliances        https://{host}:{appliance_port}/",
                f"CA fingerprint    sha256:{manager.authority.fingerprint}",
            ]
            if password and first_password_file is None:
                lines.append(f"administrator     admin, password {password} (shown this once)")
            elif password:
                lines.append(
                    f"administrator     admin, password in {first_password_file}; delete it once read"
                )
            click.echo("\n".join(lines))
            sys.stdout.flush()

        server.run(manager, announce)


@main.group()
def token() -> None:
    """One-time tokens with which appliances enrol."""


@token.command("create")
@data_dir
@database
@click.option(
    "--for", "lifetime", default="1h", show_default=True, metavar="DURATION", help="90s, 30m, 1h, up to 7d."
)
@click.option("--appliance", metavar="NAME", help="Enrols this name only; one enrolled already is replaced.")
def token_create(data_dir: Path, database: str | None, lifetime: str, appliance: str | None) -> None:
    """Print a new enrolment token. It is kept as a digest, so it cannot be shown again."""
    with _clear_errors():
        seconds = _duration(lifetime)
        if seconds > 7 * 86_400:
            raise click.BadParameter("a token is valid for 7d at most", param_hint="--for")
        manager = open_manager(Settings(data_dir, database))
        _, secret = access.make_token(manager, _CLI, timedelta(seconds=seconds), appliance)
        click.echo(secret)


@main.group()
def key() -> None:
    """API keys of operators and their programs."""


@key.command("create")
@data_dir
@database
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["viewer", "operator", "admin"]),
    default="viewer",
    show_default=True,
    help="viewer reads; operator changes policy; admin also makes keys and revokes appliances.",
)
def key_create(data_dir: Path, database: str | None, name: str, role: str) -> None:
    """Print a new API key called NAME. It is kept as a digest, so it cannot be shown again."""
    with _clear_errors():
        if not 1 <= len(name) <= 128 or not name.isprintable():
            raise click.BadParameter("a name has 1 to 128 printable characters", param_hint="NAME")
        _, secret = access.make_key(open_manager(Settings(data_dir, database)), _CLI, name, role)
        click.echo(secret)


@main.group()
def admin() -> None:
    """People who log in on the page."""


@admin.command("create")
@data_dir
@database
@click.argument("name", default="admin")
@click.option(
    "--role",
    type=click.Choice(["viewer", "operator", "admin"]),
    default="admin",
    show_default=True,
    help="What they may do.",
)
@click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input instead of making one."
)
def admin_create(data_dir: Path, database: str | None, name: str, role: str, password_stdin: bool) -> None:
    """Make a person called NAME, or give the one there is a new password, and print it.

    Whoever is logged in under NAME is logged out.
    """
    with _clear_errors():
        password = sys.stdin.readline().rstrip("\n") if password_stdin else passwords.new_password()
        if not passwords.MIN_LENGTH <= len(password) <= passwords.MAX_LENGTH:
            raise click.ClickException(
                f"the password has {len(password)} characters; "
                f"{passwords.MIN_LENGTH} to {passwords.MAX_LENGTH} are needed"
            )
        if not 1 <= len(name) <= 128 or not name.isprintable():
            raise click.BadParameter("a name has 1 to 128 printable characters", param_hint="NAME")
        access.set_person(open_manager(Settings(data_dir, database)), _CLI, name, password, role)
        if not password_stdin:
            click.echo(password)


@main.command()
@data_dir
def fingerprint(data_dir: Path) -> None:
    """Print the SHA-256 fingerprint of the certificate authority, which appliances pin when they enrol."""
    with _clear_errors():
        settings = Settings(data_dir)
        if not settings.ca_key.exists():
            raise click.ClickException(
                f"{data_dir} holds no certificate authority; start `sekisho-manager serve` once"
            )
        click.echo(f"sha256:{open_authority(settings).fingerprint}")


@main.command("host-certificate")
@data_dir
@click.argument("names", nargs=-1, required=True)
def host_certificate(data_dir: Path, names: tuple[str, ...]) -> None:
    """Sign a host helper's request, read from standard input; print its certificate, valid for NAMES.

    \b
    host#    sekisho-host request kvm7.example 192.0.2.7 > kvm7.csr
    manager# sekisho-manager host-certificate kvm7.example 192.0.2.7 < kvm7.csr > kvm7.pem
    host#    sekisho-host accept --ca ca.pem kvm7.pem
    """
    # From standard input, for the package's command runs as the manager's user, who reads no file of root's.
    with _clear_errors():
        settings = Settings(data_dir)
        if not settings.ca_key.exists():
            raise click.ClickException(
                f"{data_dir} holds no certificate authority; start `sekisho-manager serve` once"
            )
        signed = open_authority(settings).sign_host(sys.stdin.read(MAX_CSR_BYTES + 1), names)
        click.echo(signed.public_bytes(Encoding.PEM).decode(), nl=False)


def _first_administrator(manager: Manager) -> str | None:
    """Make the first administrator and return the password; None if there are people already."""
    with manager.database.reading() as session:
        if accounts.has_people(session):
            return None
    password = passwords.new_password()
    access.set_person(manager, "first start", "admin", password, "admin")
    return password


def _duration(text: str) -> float:
    try:
        return parse_duration(text).total_seconds()
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Turn what the machine refuses into one line."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise click.ClickException(f"the database cannot be used: {reason}") from error


if __name__ == "__main__":
    main()
