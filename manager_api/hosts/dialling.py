"""A connection to a helper, over TLS."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator

from manager_api.hosts.answers import MAX_LINE_BYTES, printable

DIAL_S = 10.0
GOODBYE_S = 1.0
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
"""A connection on which nothing is said for hours, as events', is seen to be dead within a minute."""


class Unreached(Exception):
    """The helper did not answer; the message says why."""


@contextlib.asynccontextmanager
async def dialled(
    address: str, port: int, tls: ssl.SSLContext
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Give a connection, of which nothing is left a second after the block, whatever the peer does.

    Raises Unreached.
    """
    try:
        async with asyncio.timeout(DIAL_S):
            reader, writer = await _connected(address, port, tls)
    except (OSError, TimeoutError, ValueError) as error:
        raise Unreached(_reason(error)) from None
    try:
        plain = writer.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            plain.setsockopt(socket.IPPROTO_TCP, option, value)
        yield reader, writer
    except ValueError:
        raise Unreached(f"it says more than {MAX_LINE_BYTES} bytes") from None
    except (OSError, TimeoutError) as error:
        raise Unreached(_reason(error)) from None
    finally:
        writer.close()
        try:
            async with asyncio.timeout(GOODBYE_S):
                await writer.wait_closed()
        except (OSError, TimeoutError):
            writer.transport.abort()


async def _connected(
    name: str, port: int, tls: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first address of the name that will. Raises OSError, ValueError."""
    addresses = await _addresses_of(name, port)
    for number, address in enumerate(addresses, 1):
        try:
            return await asyncio.open_connection(
                address, port, ssl=tls, server_hostname=name, limit=MAX_LINE_BYTES,
                ssl_shutdown_timeout=GOODBYE_S,
            )  # fmt: skip
        except OSError:
            if number == len(addresses):
                raise
    raise OSError("its name has no address")


async def _addresses_of(name: str, port: int) -> list[str]:
    """Return the addresses of that name, asked for in a thread that nobody waits for. Raises OSError.

    A name server that is silent holds a thread for its own time. In the loop's pool everybody's work would
    stand behind it, and the manager's end too.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def settle(addresses: list[str], fault: OSError | None) -> None:
        if not found.done():
            found.set_exception(fault) if fault else found.set_result(addresses)

    def ask() -> None:
        addresses, fault = [], None
        try:
            listed = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
            addresses = [str(each[4][0]) for each in listed]
        except OSError as error:
            fault = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, addresses, fault)

    threading.Thread(target=ask, name="resolver", daemon=True).start()
    return await found


def _reason(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "it does not answer"
        case ConnectionRefusedError():
            return "nobody listens there: sekisho-host does not run, or its host.yaml has no `listen`"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not for this address, or not of this manager: {error.verify_message}"
        case ConnectionResetError():
            return (
                "it ended the connection at once; has it another CA than this (`sekisho-host accept --ca`)?"
            )
        case ssl.SSLError():
            return f"TLS: {error.reason or error}"
        case socket.gaierror():
            return f"its address is not known: {error.strerror}"
    return printable(error.strerror or str(error) if isinstance(error, OSError) else str(error))
