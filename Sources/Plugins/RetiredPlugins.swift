public import PolicyKit

private let logs =
    "frontend and workers log to standard error by themselves (log_level, log_format in frontend.toml)"
private let scanners = "name the scanner's program in a line virus/command, or use virus/clamdscan"
private let waits = "every plugin waits without holding others up; write the name without async/"
private let logins =
    "use auth/auth_checkpassword with a program that asks it, or another plugin of auth/"

extension Worker {
    /// qpsmtpd's plugins that are no plugins here, for `config/plugins` that were written for it.
    public static let retiredPlugins: [RetiredPlugin] = [
        RetiredPlugin("async/dns_whitelist_soft", .refused, waits),
        RetiredPlugin("async/dnsbl", .refused, waits),
        RetiredPlugin("async/earlytalker", .refused, waits),
        RetiredPlugin("async/queue/smtp-forward", .refused, waits),
        RetiredPlugin("async/resolvable_fromhost", .refused, waits),
        RetiredPlugin("async/rhsbl", .refused, waits),
        RetiredPlugin("async/uribl", .refused, waits),
        RetiredPlugin("auth/auth_cvm_unix_local", .refused, logins),
        RetiredPlugin("auth/auth_vpopmail", .refused, logins),
        RetiredPlugin("auth/auth_vpopmail_sql", .refused, logins),
        RetiredPlugin("auth/auth_vpopmaild", .refused, logins),
        RetiredPlugin(
            "connection_time",
            .ignored,
            "the frontend logs how long each session lasted"
        ),
        RetiredPlugin("domainkeys", .ignored, "DomainKeys are historic (RFC 4870); use dkim"),
        RetiredPlugin(
            "dont_require_anglebrackets",
            .ignored,
            "an address without brackets gets 501 (RFC 5321 §4.1.2)"
        ),
        RetiredPlugin(
            "dspam",
            .refused,
            "dspam is no longer maintained; use rspamd or spamassassin"
        ),
        RetiredPlugin("help", .ignored, "the frontend answers HELP"),
        RetiredPlugin(
            "http_config",
            .refused,
            "control files are files; fetch them by another program"
        ),
        RetiredPlugin(
            "ident/p0f",
            .refused,
            "nothing here asks p0f; remove the line, or write a plugin"
        ),
        RetiredPlugin("karma_tool", .refused, "it is a command; use gatepost karma"),
        RetiredPlugin(
            "loadcheck",
            .ignored,
            "the frontend has limits of sessions and of memory ([limits] in frontend.toml)"
        ),
        RetiredPlugin("logging/adaptive", .ignored, logs),
        RetiredPlugin("logging/apache", .ignored, logs),
        RetiredPlugin("logging/connection_id", .ignored, logs),
        RetiredPlugin("logging/devnull", .ignored, logs),
        RetiredPlugin("logging/file", .ignored, logs),
        RetiredPlugin("logging/syslog", .ignored, logs),
        RetiredPlugin("logging/transaction_id", .ignored, logs),
        RetiredPlugin("logging/warn", .ignored, logs),
        RetiredPlugin(
            "milter",
            .refused,
            "milters cannot be asked yet; use the filter's own protocol, as of rspamd"
        ),
        RetiredPlugin(
            "noop_counter",
            .ignored,
            "the frontend counts them (max_noop in frontend.toml)"
        ),
        RetiredPlugin(
            "parse_addr_withhelo",
            .ignored,
            "the frontend takes the parameters of EHLO after HELO as well"
        ),
        RetiredPlugin("qmail_deliverable", .refused, "use rcpt_verify"),
        RetiredPlugin(
            "random_error",
            .refused,
            "it is for tests of clients and must not run on a server for mail"
        ),
        RetiredPlugin(
            "stunnel",
            .refused,
            "set proxy_protocol and proxy_networks of the listener in frontend.toml"
        ),
        RetiredPlugin("tls", .refused, "the frontend does TLS ([tls] in frontend.toml)"),
        RetiredPlugin("tls_cert", .refused, "it is a command; use openssl req"),
        RetiredPlugin("user_config", .refused, "set recipient_directory in worker.toml"),
        RetiredPlugin("virus/aveclient", .refused, scanners),
        RetiredPlugin("virus/bitdefender", .refused, scanners),
        RetiredPlugin("virus/hbedv", .refused, scanners),
        RetiredPlugin("virus/kavscanner", .refused, scanners),
        RetiredPlugin(
            "virus/klez_filter",
            .ignored,
            "it knows one worm of 2002; use virus/clamdscan"
        ),
        RetiredPlugin("virus/sophie", .refused, scanners),
        RetiredPlugin("virus/uvscan", .refused, scanners),
    ]
}
