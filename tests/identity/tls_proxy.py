"""A reverse proxy that ends TLS and gives the client's certificate on, as nginx does with

    ssl_verify_client optional;
    proxy_set_header X-Client-Cert $ssl_client_escaped_cert;

It speaks to the server from 127.0.0.2, so that a server can trust it and not the others here.
Run as a script: folder of the certificates, port of the server; it prints its own port.
"""

import asyncio
import ssl
import sys
from pathlib import Path
from urllib.parse import quote

ADDRESS, HEADER = "127.0.0.2", "X-Client-Cert"


async def _serve(upstream: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on one request and its answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    dropped = (HEADER.lower(), "connection", "x-forwarded-for")
    lines = [line for line in head if line and line.partition(":")[0].lower() not in dropped]
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    if shown:
        lines.append(f"{HEADER}: {quote(ssl.DER_cert_to_PEM_cert(shown))}")
    lines += [f"X-Forwarded-For: {writer.get_extra_info('peername')[0]}", "Connection: close"]
    length = next((line for line in lines if line.lower().startswith("content-length")), ":0")
    body = await reader.readexactly(int(length.partition(":")[2]))
    answered, sent = await asyncio.open_connection("127.0.0.1", upstream, local_addr=(ADDRESS, 0))
    sent.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
    await sent.drain()
    writer.write(await answered.read())
    await writer.drain()
    for stream in (sent, writer):
        stream.close()


async def main(folder: Path, upstream: int) -> None:
    """Listen until killed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "proxy.pem")
    context.load_verify_locations(folder / "authority.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    server = await asyncio.start_server(
        lambda reader, writer: _serve(upstream, reader, writer), "127.0.0.1", 0, ssl=context
    )
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201  read by who started it
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
