package import PolicyProtocol
package import System

/// Everything that `config/frontend.toml` says, checked, with defaults filled in and paths
/// absolute.
///
/// Immutable once loaded: SIGHUP loads another one. The names follow the keys; `…MS` is
/// milliseconds, `…Octets` octets.
package struct FrontendConfiguration: Sendable, Equatable {
    /// The configuration folder, absolute.
    package var directory: String
    /// Where control files are looked for, best first: ``directory``, then `control_directories`.
    package var controlDirectories: [String]

    /// The default of `id`.
    package static let defaultID = "frontend"

    /// `id`: names this frontend's sockets and spool; letters, digits, `-`, `_` and `.`.
    package var id = Self.defaultID
    /// `event_loops`: on how many processors the frontend works.
    package var eventLoops = 1
    /// The most that `event_loops` can be.
    package static let mostEventLoops = 64
    /// The default is the number of the machine's processors, but no more than this.
    package static let mostEventLoopsByDefault = 8
    /// `hostname`: default the first line of the control file `me`, else the host's own name.
    package var hostname: String
    /// `runtime_directory`, absolute; sockets are `<it>/pools/<pool>/<id>.sock` and `<id>@2.sock` ….
    package var runtimeDirectory: String
    /// `spool_directory`, absolute; messages in `<it>/<id>/`.
    package var spoolDirectory: String
    /// `user` and `group`: what the frontend becomes once it has bound its addresses; `nil`: it stays
    /// what it is.
    package var user: ProcessUser?
    /// `core_dumps`: the kernel may write core files, and debuggers may read the process.
    package var coreDumps = false
    /// `shutdown_ms`: how long transactions may go on after SIGTERM.
    package var shutdownMS: Int64 = 30_000
    /// `hang_ms`: how long the event loop of a program may stand still before `gatepost run` ends
    /// it and starts it again; 0 is no limit.
    package var hangMS: Int64 = 10_000
    /// `compat`: whose reply codes to use.
    package var compatibility: Compatibility = .none
    /// `bare_newline`: what happens to a CR or LF on its own inside a message.
    package var bareNewline: BareNewline = .reject
    /// `allow_nul`: a NUL may stand in the content of a message; else it is refused, 554 5.6.0.
    package var allowNUL = false
    /// `log_level`, overruled by `--log-level`.
    package var logLevel: LogLevel = .info
    /// `log_format`, overruled by `--log-format`.
    package var logFormat: LogFormat = .text
    /// `[limits]`.
    package var limits = Limits()
    /// `[tls]`.
    package var tls = TLS()
    /// `[[listener]]`, in the order of the file; at least one.
    package var listeners: [Listener]
    /// `[[pool]]`, in the order in which they are asked; at least one.
    package var pools: [Pool]

    /// A configuration without a file, for tests; every other key has its default.
    package init(
        directory: String,
        hostname: String,
        runtimeDirectory: String,
        spoolDirectory: String,
        listeners: [Listener],
        pools: [Pool]
    ) {
        self.directory = directory
        self.controlDirectories = [directory]
        self.hostname = hostname
        self.runtimeDirectory = runtimeDirectory
        self.spoolDirectory = spoolDirectory
        self.listeners = listeners
        self.pools = pools
    }

    /// The path of a pool's socket on an event loop, which is counted from 0.
    package static func socketPath(
        runtimeDirectory: String,
        pool: String,
        frontendID: String,
        loop: Int
    ) -> String {
        // An id has no @, so this is no other frontend's socket.
        let suffix = loop == 0 ? "" : "@\(loop + 1)"
        return "\(runtimeDirectory)/pools/\(pool)/\(frontendID)\(suffix).sock"
    }

    package enum Compatibility: String, Sendable, CaseIterable {
        /// `""`: the codes of RFC 5321.
        case none = ""
        /// qpsmtpd's codes, for log parsers and habits that depend on them.
        case qpsmtpd
    }

    package enum BareNewline: String, Sendable, CaseIterable {
        /// Refuse the message: 554 5.5.2.
        case reject
        /// Turn each into CRLF before anything else sees it.
        case normalize
    }

    /// `[limits]`: what one client may use; where a comment says so, 0 is no limit.
    package struct Limits: Sendable, Equatable {
        /// `command_timeout_ms`: silence between commands (RFC 5321 §4.5.3.2.7).
        package var commandTimeoutMS: Int64 = 300_000
        /// `data_timeout_ms`: how long a client may be silent inside a message.
        package var dataTimeoutMS: Int64 = 180_000
        /// `reply_timeout_ms`: how long a client may take no reply while too many replies wait.
        package var replyTimeoutMS: Int64 = 300_000
        /// `session_timeout_ms`: the whole session.
        package var sessionTimeoutMS: Int64 = 3_600_000
        /// `max_recipients` a transaction, at least 100 (RFC 5321 §4.5.3.1.8).
        package var maximumRecipients = 1_000
        /// `max_errors` a session: replies 5yz to commands, then 421 and close; 0 is no limit.
        package var maximumErrors = 10
        /// `max_unrecognized` commands a session, should no worker count; 0 is no limit.
        package var maximumUnrecognized = 10
        /// `max_transactions` a session, with a message each: then 421; 0 is no limit.
        package var maximumTransactions = 1_000
        /// `max_noop`: NOOPs in a row, then 421 and close; 0 is no limit.
        package var maximumNoops = 100
        /// `max_commands_without_message` in a row, RCPT aside, then 421 and close; 0 is no limit.
        package var maximumCommandsWithoutMessage = 1_000
        /// `max_refused_recipients` in a row, then 421 and close; 0 is no limit.
        package var maximumRefusedRecipients = 2_000
        /// `max_commands_per_session`, then 421 and close; 0 is no limit.
        package var maximumCommands = 0
        /// How long a session waits for its client, and how fast the client has to be.
        package var budgets = Budgets()
        /// What becomes of logins that fail.
        package var failedLogins = FailedLogins()
        /// `max_message_octets`, CRLFs counted; the control file `databytes` overrules it.
        package var maximumMessageOctets = 26_214_400
        /// `max_header_octets`: the header section of a message.
        package var maximumHeaderOctets = 1_048_576
        /// `max_header_fields`: the fields of that section, then 552 5.3.4.
        package var maximumHeaderFields = 1_000
        /// `max_line_octets`: one line of a message, CRLF included.
        package var maximumLineOctets = 65_536
        /// `max_received`: Received and Delivered-To fields, then 554 5.4.6.
        package var maximumReceived = 100
        /// `max_sessions` at once, of all clients; 0 is no limit.
        package var maximumSessions = 2_000
        /// `max_sessions_per_ip` at once, from one address (an IPv6 /64); 0 is no limit.
        package var maximumSessionsPerIP = 200
        /// `max_sessions_per_network` at once, from one network (a /24 of IPv4, a /48 of IPv6); 0 is no
        /// limit.
        package var maximumSessionsPerNetwork = 0
        /// `max_new_sessions_per_ip` that begin in a minute, from one address (an IPv6 /64); 0 is no
        /// limit.
        package var maximumNewSessionsPerIP = 0
        /// `max_new_sessions_per_network` that begin in a minute, from one network; 0 is no limit.
        package var maximumNewSessionsPerNetwork = 0
        /// `memory_octets`: the memory of all sessions above which no session begins; 0 is no
        /// limit.
        package var memoryOctets = 536_870_912
        /// `memory_message_octets`: a message up to this size stays in memory until a worker needs
        /// it.
        package var memoryMessageOctets = 65_536
        /// `max_reply_delay_ms`: the longest tarpit that a worker may ask for.
        package var maximumReplyDelayMS: Int64 = 30_000
        /// `max_future_release_ms`: the longest hold that FUTURERELEASE announces (RFC 4865).
        package var maximumFutureReleaseMS: Int64 = 2_592_000_000

        package init() {}
    }

    /// `[[listener]]`.
    package struct Listener: Sendable, Equatable {
        /// `name`: stands in events as `session.listener`; default its address.
        package var name: String
        /// `address`.
        package var address: ListenAddress
        /// `protocol`.
        package var mailProtocol: MailProtocol = .smtp
        /// `socket_mode` of a Unix socket.
        package var socketMode: UInt32 = 0o660
        /// `tls`.
        package var tls: TLSMode = .none
        /// `require_tls`: no mail without TLS (RFC 3207 §4).
        package var requireTLS = false
        /// `client_certificates` and `client_ca_file`.
        package var clientCertificates = ClientCertificates()
        /// `auth`: the mechanisms of AUTH, in the order in which they are offered; empty: no AUTH.
        package var auth: [AuthMechanism] = []
        /// `auth_without_tls`: AUTH is offered in clear text too.
        package var authWithoutTLS = false
        /// `require_auth`: no mail before AUTH (RFC 4954 §6).
        package var requireAuth = false
        /// `greeting_delay_ms`: how long to hold the banner and listen for a client that talks
        /// early.
        package var greetingDelayMS: Int64 = 0
        /// `greeting_delay_exempt`: clients that never wait.
        package var greetingDelayExempt: [IPNetwork] = []
        /// `greeting_pass_ttl_ms`: how long a client that waited once need not wait again.
        package var greetingPassTTLMS: Int64 = 86_400_000
        /// `extensions`: what EHLO offers.
        package var extensions = SMTPExtension.standard
        /// `allow_missing_brackets`: `MAIL FROM:a@b` is taken.
        package var allowMissingBrackets = false
        /// `allow_space_after_colon`: `MAIL FROM: <a@b>` is taken, with spaces or TABs.
        package var allowSpaceAfterColon = false
        /// `allow_underscore_in_domain`: `a@my_host.example` is taken.
        package var allowUnderscoreInDomain = false
        /// `allow_trailing_dot`: `a@b.example.` is taken, without its dot.
        package var allowTrailingDot = false
        /// `allow_dots_in_local_part`: `a..b@c` and `a.@c` are taken.
        package var allowDotsInLocalPart = false
        /// `allow_auth_parameter`: AUTH= in MAIL is taken, though AUTH is not offered.
        package var allowAuthParameter = false
        /// `allow_words_after_hello`: `EHLO my-host (2)` is taken, the name is the first word.
        package var allowWordsAfterHello = false
        /// `allow_lf_commands`: a command line may end in LF alone; message content never.
        package var allowLFCommands = false
        /// `allow_other_protocols`: a first command of HTTP or a TLS handshake does not end the session.
        package var allowOtherProtocols = false
        /// `allow_early_content`: content that comes before the 354 to DATA is taken.
        package var allowEarlyContent = false
        /// `allow_commands_after_bare_newline`: a message that is refused for a bare CR or LF does not
        /// end the session.
        package var allowCommandsAfterBareNewline = false
        /// `proxy_protocol`: each connection begins with a PROXY header.
        package var proxyProtocol = false
        /// `proxy_networks`: from where a PROXY header is taken.
        package var proxyNetworks: [IPNetwork] = []
        /// `proxy_timeout_ms`: how long a proxy may take for its header.
        package var proxyTimeoutMS: Int64 = 5_000
        /// `xclient_networks`: from where XCLIENT is taken.
        package var xclientNetworks: [IPNetwork] = []
        /// `xforward_networks`: from where XFORWARD is taken.
        package var xforwardNetworks: [IPNetwork] = []
        /// `backlog` of the listening socket.
        package var backlog = 1_024

        package init(name: String, address: ListenAddress) {
            self.name = name
            self.address = address
        }
    }

    package enum MailProtocol: String, Sendable, CaseIterable {
        case smtp
        /// A reply for each recipient (RFC 2033).
        case lmtp
    }

    package enum TLSMode: String, Sendable, CaseIterable {
        case none
        /// STARTTLS is offered (RFC 3207).
        case starttls
        /// The connection begins with a handshake (RFC 8314 §3.3).
        case implicit
    }

    /// EHLO keywords, as they stand on the wire.
    package enum SMTPExtension: String, Sendable, CaseIterable {
        case pipelining = "PIPELINING"
        case size = "SIZE"
        case eightBitMIME = "8BITMIME"
        case smtpUTF8 = "SMTPUTF8"
        case enhancedStatusCodes = "ENHANCEDSTATUSCODES"
        case chunking = "CHUNKING"
        case binaryMIME = "BINARYMIME"
        case dsn = "DSN"
        case limits = "LIMITS"
        case requireTLS = "REQUIRETLS"
        case prdr = "PRDR"
        case priority = "MT-PRIORITY"
        /// Offered while the queue plugins keep it, too.
        case futureRelease = "FUTURERELEASE"

        /// What a listener offers unless told otherwise.
        ///
        /// The others promise what only some queue plugins keep.
        package static let standard: Set<Self> = [
            .pipelining, .size, .eightBitMIME, .smtpUTF8, .enhancedStatusCodes, .chunking, .limits,
        ]
    }

    /// `on_failure`, `deadline_ms` and `max_deadline_ms` of one hook of one pool.
    package struct HookPolicy: Sendable, Equatable {
        package var onFailure: FailurePolicy
        /// How long a question may take, waiting for a worker included.
        package var deadlineMS: Int64
        /// How long it may take in all if the worker sends `progress`; at least ``deadlineMS``.
        package var maximumDeadlineMS: Int64

        package init(onFailure: FailurePolicy, deadlineMS: Int64, maximumDeadlineMS: Int64) {
            self.onFailure = onFailure
            self.deadlineMS = deadlineMS
            self.maximumDeadlineMS = maximumDeadlineMS
        }
    }

    /// `[[pool]]`.
    package struct Pool: Sendable, Equatable {
        /// `name`: letters, digits, `-` and `_`.
        package var name: String
        /// `minimum_workers`: the listeners open when so many are ready.
        package var minimumWorkers = 1
        /// For the hooks that are not in ``hooks``.
        package var policy = HookPolicy(
            onFailure: .tempfail,
            deadlineMS: 20_000,
            maximumDeadlineMS: 120_000
        )
        /// `[pool.hooks.HOOK]`, completed from the pool's own values; data_post and queue, which
        /// are slower by default, are always here.
        package var hooks: [Hook: HookPolicy] = [:]
        /// `zombie_ms`: how long after its deadline an answer may still come; then its worker is
        /// closed.
        package var zombieMS: Int64 = 30_000
        /// `ping_ms`: a worker that is silent for this long gets a `ping`.
        ///
        /// If it holds no event and does not answer the `ping` for ``zombieMS``, it is closed.
        package var pingMS: Int64 = 5_000
        /// `grace_ms`: how long questions wait for a worker after the start, or after the last one
        /// left.
        package var graceMS: Int64 = 3_000
        /// `always_asked`: the hooks at which the pool is asked, whatever its workers registered;
        /// `nil`: the hooks that workers registered are remembered.
        package var alwaysAsked: [Hook]?
        /// `hooks_remembered_ms`: SIGHUP forgets only hooks whose last worker left longer ago than
        /// this.
        package var hooksRememberedMS: Int64 = 60_000
        /// `queue_limit`: how many questions may wait for a worker; further ones fail.
        package var queueLimit = 1_000
        /// `max_connections` of workers.
        package var maximumConnections = 64
        /// `max_concurrency`: how many events a worker may hold, even if it offers more.
        package var maximumConcurrency = 1_024
        /// `max_frame_octets`: the longest line accepted from a worker.
        package var maximumFrameOctets = 1_048_576
        /// `allowed_users` as uids; empty: the frontend's own user and root.
        package var allowedUserIDs: Set<UInt32> = []
        /// `group` as gid: owns the socket and the pool's files; `nil`: the frontend's own.
        package var groupID: UInt32?
        /// `socket_mode`.
        package var socketMode: UInt32 = 0o660
        /// `failure_header`: a message for which this pool was skipped gets a header field that
        /// says so.
        package var failureHeader = false
        /// `secrets`: its workers are asked at `auth`, and get passwords; `nil` only while the file is read.
        package var secrets: Bool?
        /// `shadow_of`: this pool is a shadow of that pool.
        package var shadowOf: String?
        /// `shadow_queue`: the shadow is asked at `queue` too, where it may store the message once
        /// more.
        package var isShadowQueueing = false
        /// `shadow_octets`: the memory that the shadow's open questions may hold; further questions
        /// are dropped.
        package var shadowOctets = 67_108_864
        /// `shadow_spool_octets`: the same for its messages on the disk.
        package var shadowSpoolOctets = 1_073_741_824
        /// `canary_of`: this pool is a canary of that pool, for ``canaryPercent`` of its sessions.
        package var canaryOf: String?
        /// `canary_percent`: 1 … 100.
        package var canaryPercent = 0

        package init(name: String) {
            self.name = name
        }

        /// Whether it is neither a shadow nor a canary.
        package var isDeciding: Bool { self.shadowOf == nil && self.canaryOf == nil }

        /// The failure policy and deadlines of `hook`.
        package func policy(for hook: Hook) -> HookPolicy {
            self.hooks[hook] ?? self.policy
        }
    }
}

/// `log_level`: the words of swift-log.
package enum LogLevel: String, Sendable, CaseIterable {
    case trace
    case debug
    case info
    case notice
    case warning
    case error
    case critical
}

/// `log_format`.
package enum LogFormat: String, Sendable, CaseIterable {
    case text
    case json
}

/// Where a listener listens: an address literal and a port, never a name to resolve, or a Unix socket.
package struct ListenAddress: Sendable, Equatable, CustomStringConvertible {
    /// `127.0.0.1`, `::`, …, without brackets; `::` listens on both families.
    package let host: IPAddress
    /// 0 lets the system choose.
    package let port: Int
    /// The absolute path of a Unix socket; then host and port are 127.0.0.1 and 0, as policy sees them.
    package let path: String?

    package init(host: IPAddress, port: Int) {
        self.host = host
        self.port = port
        self.path = nil
    }

    private init(path: String) {
        self.host = IPAddress(ipv4: 0x7F00_0001)
        self.port = 0
        self.path = path
    }

    /// Reads `127.0.0.1:2525`, `[::1]:2525` or `unix:/run/gatepost/lmtp.sock`; `localhost` is 127.0.0.1,
    /// `*` is `[::]`.
    ///
    /// - Returns: `nil` if it is anything else, or if the path is longer than 107 octets.
    package init?(parsing text: String) {
        if text.hasPrefix("unix:") {
            let path = text.dropFirst(5)
            guard path.hasPrefix("/"), !path.hasSuffix("/"), path.utf8.count <= 107 else {
                return nil
            }
            self.init(path: String(path))
            return
        }
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let portText = text[text.index(after: colon)...]
        var hostText = text[..<colon]
        guard portText.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let port = UInt16(portText)
        else { return nil }
        if hostText == "localhost" { hostText = "127.0.0.1" }
        if hostText == "*" { hostText = "[::]" }
        if hostText.hasPrefix("["), hostText.hasSuffix("]") {
            hostText = hostText.dropFirst().dropLast()
            guard hostText.contains(":") else { return nil }
        } else if hostText.contains(":") {
            return nil
        }
        guard let host = IPAddress(parsing: String(hostText), mapped: .keep) else { return nil }
        self.init(host: host, port: Int(port))
    }

    package var description: String {
        if let path = self.path { return "unix:\(path)" }
        return self.host.isIPv6 ? "[\(self.host)]:\(self.port)" : "\(self.host):\(self.port)"
    }
}
