"""Where a client is, by databases that MaxMind's own writer made; a proxy names the clients."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.gatepost import Gatepost
from harness.waiting import wait_until

#: Writes a database: its path, its type, and lines of network, country, continent, city, latitude, longitude, network number.
WRITER = r"""
use strict; use warnings; use MaxMind::DB::Writer::Tree;
my ($path, $type) = splice @ARGV, 0, 2;
my %types = (country => 'map', iso_code => 'utf8_string', names => 'map', en => 'utf8_string', continent => 'map',
    code => 'utf8_string', city => 'map', location => 'map', latitude => 'double', longitude => 'double',
    autonomous_system_number => 'uint32', autonomous_system_organization => 'utf8_string');
my $tree = MaxMind::DB::Writer::Tree->new(ip_version => 6, record_size => 24, database_type => $type,
    languages => ['en'], description => { en => 'test' }, map_key_type_callback => sub { $types{$_[0]} },
    remove_reserved_networks => 0);
for (@ARGV) {
    my ($network, $country, $name, $continent, $city, $latitude, $longitude, $asn) = split /;/;
    $tree->insert_network($network, $asn
        ? { autonomous_system_number => $asn, autonomous_system_organization => $name }
        : { country => { iso_code => $country, names => { en => $name } }, continent => { code => $continent },
            city => { names => { en => $city } }, location => { latitude => $latitude, longitude => $longitude } });
}
open my $file, '>:raw', "$path.new" or die $!;
$tree->write_tree($file);
close $file or die $!;
rename "$path.new", $path or die $!;
"""
BERLIN = "198.51.100.0/24;DE;Germany;EU;{city};52.52;13.40;"
NEW_YORK = "203.0.113.0/24;US;United States;NA;New York;40.71;-74.01;"


def write(path: Path, kind: str, *lines: str) -> None:
    done = subprocess.run(["/usr/bin/perl", "-e", WRITER, str(path), kind, *lines], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def placing(make_gatepost: Callable[..., Gatepost]) -> Gatepost:
    server = make_gatepost()
    folder = server.folder / "geo"
    folder.mkdir()
    write(folder / "GeoLite2-City.mmdb", "GeoLite2-City", BERLIN.format(city="Berlin"), NEW_YORK)
    write(folder / "GeoLite2-ASN.mmdb", "GeoLite2-ASN", "198.51.100.0/22;;Example Net;;;;;64500")
    server.listener.update(proxy_protocol=True, proxy_networks=["127.0.0.1"])
    server.plugins(
        "ident/geoip db_dir {folder}/geo distance 203.0.113.1 reject_countries US", "rcpt_ok", "queue/maildir {mail}"
    )
    server.run()
    return server


def deliver(server: Gatepost, client: str) -> dict[str, list[bytes]]:
    server.maildir.clear()
    with server.connect() as session:
        session.send(f"PROXY TCP4 {client} 192.0.2.250 4711 25\r\n".encode())
        session.expect(220)
        session.command("EHLO client.example", 250)
        session.envelope("bob@a.test")
        assert session.data(b"From: <bob@a.test>\r\nX-GeoIP-City: forged\r\n\r\nhello\r\n").code == 250
    message = server.maildir.only()
    return {name: message.header(f"X-GeoIP-{name}") for name in ("Country", "Continent", "City", "ASN")}


def test_a_message_says_where_it_came_from(placing: Gatepost) -> None:
    assert deliver(placing, "198.51.100.7") == {
        "Country": [b"DE"], "Continent": [b"EU"], "City": [b"Berlin"], "ASN": [b"64500"],
    }
    placing.programs[-1].logged(r"EU, DE, Berlin, AS64500, 63\d\d km")
    assert deliver(placing, "192.0.2.7") == {"Country": [], "Continent": [], "City": [], "ASN": []}


def test_a_country_is_refused(placing: Gatepost) -> None:
    with placing.connect() as session:
        session.send(b"PROXY TCP4 203.0.113.7 192.0.2.250 4711 25\r\n")
        reply = str(session.reply(10))
    assert "554" in reply and "5.7.1 Mail from United States is not taken here" in reply


def test_a_database_is_replaced_while_it_is_in_use(placing: Gatepost) -> None:
    path = placing.folder / "geo" / "GeoLite2-City.mmdb"
    write(path, "GeoLite2-City", BERLIN.format(city="Potsdam"))
    wait_until(lambda: deliver(placing, "198.51.100.7")["City"] == [b"Potsdam"], 20, lambda: placing.logs(), 0.2)
    # A broken one leaves the old one in use.
    broken = path.with_name("broken")
    broken.write_bytes(b"no database")
    broken.replace(path)
    worker = placing.programs[-1]
    wait_until(
        lambda: deliver(placing, "198.51.100.7")["City"] == [b"Potsdam"] and "the old one stays" in worker.tail(),
        20,
        lambda: placing.logs(),
        0.2,
    )
