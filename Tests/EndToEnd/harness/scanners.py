"""Real scanners of messages from Debian packages, each started privately on loopback and ended by its pid."""

from __future__ import annotations

import os
import socket

from .peers import Peer
from .waiting import wait_until

#: Symbols and answers that a message asks for by its field X-Want; no network, no rules of rspamd's own.
RULES = """
local function want(task) return task:get_header('X-Want') end
for name, weight in pairs({add = 7, greylist = 5, rewrite = 9, reject = 20}) do
  rspamd_config:register_symbol({name = 'WANT_' .. name:upper(), score = weight, callback = function(task)
    if want(task) == name then return true, 1.0, 'because' end
  end})
end
local facts = {
  IP = function(task) return tostring(task:get_ip()) end,
  HELO = function(task) return tostring(task:get_helo()) end,
  USER = function(task) return tostring(task:get_user()) end,
  FROM = function(task) return task:get_from('smtp')[1].addr end,
  RCPT = function(task)
    local all = {}
    for _, rcpt in ipairs(task:get_recipients('smtp')) do all[#all + 1] = rcpt.addr end
    return table.concat(all, ',')
  end,
  SETTINGS = function(task) return tostring(task:get_request_header('Settings-ID')) end,
  DELIVER = function(task) return tostring(task:get_request_header('Deliver-To')) end,
}
rspamd_config:register_symbol({name = 'DOES', type = 'postfilter', callback = function(task)
  local word = want(task)
  if word == 'facts' then
    local fields = {}
    for name, value in pairs(facts) do fields['X-Fact-' .. name] = value(task) end
    task:set_milter_reply({add_headers = fields})
  elseif word == 'milter' then
    task:set_milter_reply({
      add_headers = {['X-Plain'] = 'one', ['X-First'] = {value = 'two', order = 1}, ['X-Many'] = {'a', 'b'}},
      remove_headers = {['X-Old'] = 0, ['X-Second'] = 2, ['X-Last'] = -1},
    })
  elseif word == 'soft' then task:set_pre_result('soft reject', 'Come back later', 'here')
  elseif word == 'quarantine' or word == 'discard' then
    task:set_milter_reply({reject = word})
    task:set_pre_result('reject', 'Looks bad', 'here')
  end
end})
"""


class RspamdServer(Peer):
    """rspamd with the rules above, over TCP and a Unix socket."""

    def __init__(self) -> None:
        super().__init__("rs")
        self.socket = self.folder / "rspamd.sock"
        (self.folder / "modules").mkdir()
        (self.folder / "tld").write_text("com\nnet\norg\nexample\n")
        (self.folder / "rules.lua").write_text(RULES)
        (self.folder / "conf").write_text(
            'options { filters = ""; dns { nameserver = ["127.0.0.1:9"]; timeout = 0.2s; retransmits = 1; } local_addrs = [];'
            f' tempdir = "{self.folder}"; pidfile = "{self.folder}/pid"; control_socket = "{self.folder}/control";'
            f' hs_cache_dir = "{self.folder}"; url_tld = "{self.folder}/tld"; }}\n'
            'logging { type = "console"; level = "warning"; }\n'
            f'worker "normal" {{ bind_socket = "127.0.0.1:{self.port}"; bind_socket = "{self.socket} mode=0666"; count = 1; }}\n'
            "actions { reject = 15; rewrite_subject = 8; add_header = 6; greylist = 4; subject = \"[SPAM] %s\"; }\n"
            f'lua = "{self.folder}/rules.lua";\nmodules {{ path = "{self.folder}/modules/"; }}\n'
        )
        user = ["-i", "-u", "root", "-g", "root"] if os.getuid() == 0 else []
        self.start(["/usr/bin/rspamd", "-f", *user, "-c", self.folder / "conf"])
        wait_until(self._pongs, 60, lambda: f"rspamd answering /ping{self.describe()}", 0.1)

    def _pongs(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as connection:
                connection.sendall(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return b"pong" in connection.recv(1_000)
        except OSError:
            return False


#: The test file of all virus scanners; it does nothing.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


class Clamd(Peer):
    """ClamAV's daemon with a database of two lines, over TCP and a Unix socket."""

    def __init__(self, limit: str = "30M") -> None:
        super().__init__("clam")
        self.socket = self.folder / "clamd.sock"
        database = self.folder / "database"
        database.mkdir()
        (database / "test.hdb").write_text("44d88612fea8a8f36de82e1278abb02f:68:Eicar-Test-Signature\n")
        (database / "test.ndb").write_text(f"Gatepost.Test.Body:0:*:{b'gatepost-test'.hex()}\n")
        (self.folder / "conf").write_text(
            f"Foreground yes\nLocalSocket {self.socket}\nTCPSocket {self.port}\nTCPAddr 127.0.0.1\n"
            f"DatabaseDirectory {database}\nStreamMaxLength {limit}\nSelfCheck 0\nTemporaryDirectory {self.folder}\n"
            + ("User root\n" if os.getuid() == 0 else "")
        )
        self.serve()

    def serve(self) -> None:
        """Starts it, also once more after it was stopped."""
        self.start(["/usr/sbin/clamd", f"--config-file={self.folder}/conf"])
        wait_until(self._pongs, 60, lambda: f"clamd answering PING{self.describe()}", 0.1)

    def _pongs(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as connection:
                connection.sendall(b"zPING\0")
                return connection.recv(100) == b"PONG\0" and self.socket.exists()
        except OSError:
            return False
