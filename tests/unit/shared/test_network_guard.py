"""Where webhooks and imports of files may go: public addresses, however they are written."""

import socket
from ipaddress import ip_address, ip_network

import pytest

from shared.network_guard import (
    ForbiddenAddressError,
    GuardedResolver,
    GuardedSockets,
    UrlError,
    check,
    check_url,
    is_allowed,
)

FORBIDDEN = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:a9fe:a9fe",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::a00:1",
    "100::1",
    "100:0:0:1::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:2:0:ffff::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:a00:1::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "febf::1",
    "fec0::1",
    "ff02::1",
]

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.1",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.1",
    "192.167.255.255",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "2606:4700::1111",
    "2a00:1450:4001:80b::200e",
    "100:0:0:2::1",
    "2001:2:1::1",
    "2001:200::1",
    "2003::1",
]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_special_addresses_are_forbidden(address: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        check(address, ())


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    check(address, ())


def test_an_exception_opens_its_own_network_and_no_other() -> None:
    loopback = (ip_network("127.0.0.0/8"),)
    assert is_allowed(ip_address("127.0.0.1"), loopback)
    assert is_allowed(ip_address("::ffff:127.0.0.1"), loopback)
    assert not is_allowed(ip_address("10.0.0.1"), loopback)
    assert not is_allowed(ip_address("::1"), loopback)


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example/stock",
        "http://shop.example:8080/stock?shop=1",
        "https://8.8.8.8/stock",
        "https://[2606:4700::1111]/",
        "https://bücher.example/",
        "https://3com.example/",
    ],
)
def test_these_can_be_webhooks(url: str) -> None:
    check_url(url, ())


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.0.0.1:5432/",
        "https://169.254.169.254/latest/meta-data",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://0.0.0.0/",
    ],
)
def test_literal_addresses_that_are_not_public_are_refused(url: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        check_url(url, ())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop.example/stock",
        "ftp://shop.example/",
        "file:///etc/passwd",
        "https://",
        "https:///stock",
        "https://me:secret@shop.example/",
        "https://me@shop.example/",
        "https://shop.example:0/",
        "https://shop.example:99999/",
        "https://shop .example/",
        "https://shop.example/\r\nHost: elsewhere",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://127.0.0.1./",
        "http://xn--/",
        "http://a..b/",
        f"http://{'a' * 64}.example/",
        "https://shop.example/" + "a" * 2048,
    ],
)
def test_these_are_no_webhook_urls(url: str) -> None:
    with pytest.raises((UrlError, ForbiddenAddressError)):
        check_url(url, ())


def test_no_socket_is_made_to_a_forbidden_address() -> None:
    sockets = GuardedSockets(())
    with pytest.raises(ForbiddenAddressError):
        sockets((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 80)))
    sockets((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("8.8.8.8", 80))).close()


async def test_a_name_with_one_private_address_among_public_ones_is_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*_: object) -> list[object]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, ("8.8.8.8", 443)), (*kind, ("10.0.0.1", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    resolver = GuardedResolver(())
    with pytest.raises(ForbiddenAddressError, match=r"10\.0\.0\.1"):
        await resolver.resolve("shop.example", 443)
    resolver = GuardedResolver((ip_network("10.0.0.0/8"),))
    assert [found["host"] for found in await resolver.resolve("shop.example", 443)] == ["8.8.8.8", "10.0.0.1"]
    await resolver.close()
