// swift-tools-version: 6.2
import PackageDescription

/// The manuals of the plugins, from Sources/Plugins: SwiftPM wants each file that it does not compile
/// excluded by name.
let manuals = [
    "Authentication": [
        "AuthCheckpassword", "AuthDeny", "AuthDovecot", "AuthFlatFile", "AuthIMAP",
        "AuthLDAPBind",
    ],
    "Connection": [
        "CountUnrecognizedCommands", "EarlyTalker", "FCrDNS", "GeoIP", "Helo", "HostsAllow",
        "QuitFortune", "Relay",
    ],
    "DNSLists": ["DNSBL", "DNSWL", "RHSBL", "URIBL"],
    "Envelope": [
        "Aliases", "BadMailFrom", "BadMailFromTo", "BadRcptTo", "RcptMap", "RcptOK", "RcptRegexp",
        "RcptVerify", "ResolvableFromhost",
    ],
    "MailAuthentication": [
        "ARCSets", "AuthenticationResultsField", "DKIMSignatures", "DMARC", "SenderPermittedFrom",
    ],
    "Reputation": ["Greylisting", "Karma", "Naughty", "RateLimit", "Whitelist"],
    "Content": [
        "Attachment", "BodyMatch", "BogusBounce", "Headers", "Loop", "MessageArchive", "Rspamd",
        "SpamAssassin", "SubjectEdit", "VirusClamdscan", "VirusCommand",
    ],
    "Queue": [
        "QueueCommand", "QueueDiscard", "QueueEximBSMTP", "QueueHTTP", "QueueLMTP", "QueueMaildir",
        "QueuePostfixQueue", "QueueQmailQueue", "QueueQuarantine", "QueueSMTPForward",
        "QueueSMTPProxy",
    ],
    "Observe": ["SessionLog"],
].flatMap { group, plugins in plugins.map { "\(group)/\($0)/README.md" } }

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioConcurrency = Target.Dependency.product(name: "NIOConcurrencyHelpers", package: "swift-nio")
let nioEmbedded = Target.Dependency.product(name: "NIOEmbedded", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioTLS = Target.Dependency.product(name: "NIOTLS", package: "swift-nio")
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let arguments = Target.Dependency.product(
    name: "ArgumentParser",
    package: "swift-argument-parser"
)
let signals = Target.Dependency.product(name: "UnixSignals", package: "swift-service-lifecycle")

let package = Package(
    name: "gatepost",
    products: [
        .executable(name: "gatepost", targets: ["Gatepost"]),
        .executable(name: "gatepost-frontend", targets: ["Frontend"]),
        .executable(name: "gatepost-worker", targets: ["PolicyWorker"]),
        .executable(name: "micro-bench", targets: ["MicroBench"]),
        .executable(name: "pool-simulation", targets: ["PoolSimulation"]),
        .executable(name: "session-simulation", targets: ["SessionSimulation"]),
        .library(name: "PolicyKit", targets: ["PolicyKit"]),
        .library(name: "PolicyKitTesting", targets: ["PolicyKitTesting"]),
        .library(name: "StandardPlugins", targets: ["StandardPlugins"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio.git", exact: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl.git", exact: "2.37.6"),
        .package(url: "https://github.com/apple/swift-crypto.git", exact: "4.5.2"),
        .package(url: "https://github.com/apple/swift-log.git", exact: "1.16.2"),
        .package(url: "https://github.com/apple/swift-argument-parser.git", exact: "1.8.2"),
        .package(
            url: "https://github.com/swift-server/swift-service-lifecycle.git",
            exact: "2.13.0"
        ),
        .package(url: "https://github.com/LebJe/TOMLKit.git", exact: "0.6.0"),
    ],
    // Leaves first: a target names only targets above it.
    targets: [
        .systemLibrary(name: "CJSONC", pkgConfig: "json-c", providers: [.apt(["libjson-c-dev"])]),
        // No pkgConfig: Debian's libunbound.pc names private packages that a user does not need.
        .systemLibrary(name: "CUnbound", providers: [.apt(["libunbound-dev"])]),
        .systemLibrary(
            name: "CPCRE2",
            pkgConfig: "libpcre2-8",
            providers: [.apt(["libpcre2-dev"])]
        ),
        .systemLibrary(name: "CCrypt", providers: [.apt(["libcrypt-dev"])]),
        .systemLibrary(name: "CSQLite", providers: [.apt(["libsqlite3-dev"])]),
        // No pkgConfig: libldap.pc names no liblber, which the bridge calls.
        .systemLibrary(name: "CLDAP", providers: [.apt(["libldap-dev"])]),
        .systemLibrary(name: "CStringprep", pkgConfig: "libidn", providers: [.apt(["libidn-dev"])]),
        .systemLibrary(
            name: "CMaxMindDB",
            pkgConfig: "libmaxminddb",
            providers: [.apt(["libmaxminddb-dev"])]
        ),
        // No pkgConfig: libarchive.pc names private packages that a user does not need.
        .systemLibrary(name: "CArchive", providers: [.apt(["libarchive-dev"])]),
        .target(name: "CLinux"),
        .target(name: "COpenSSL", linkerSettings: [.linkedLibrary("crypto")]),
        .target(name: "System", dependencies: ["CLinux"]),
        .target(name: "Octets"),
        .target(name: "SCRAM", dependencies: ["Octets", crypto]),
        .target(name: "SASLprep", dependencies: ["CStringprep"]),
        .target(name: "LDAPClient", dependencies: ["CLDAP", "System"]),
        .target(name: "JSON", dependencies: ["CJSONC", "Octets"]),
        .target(name: "PolicyProtocol", dependencies: ["JSON", "Octets"]),
        .target(name: "Addresses"),
        .target(name: "MaxMind", dependencies: ["Addresses", "CMaxMindDB"]),
        .target(name: "DomainNames", dependencies: ["Octets"]),
        .target(name: "PublicSuffixes", dependencies: ["DomainNames"]),
        .target(name: "DMARC", dependencies: ["DomainNames", "Octets", "PublicSuffixes"]),
        .target(name: "DNSResolver", dependencies: ["Addresses", "CUnbound", "DomainNames"]),
        .target(name: "SPF", dependencies: ["Addresses", "DomainNames", "Octets"]),
        .target(name: "ProxyProtocol", dependencies: ["Addresses"]),
        .target(name: "TLSRecords"),
        .target(name: "PoolCore"),
        .target(name: "SMTPCore", dependencies: ["Octets"]),
        .target(
            name: "PolicyCore",
            dependencies: ["JSON", "Octets", "PolicyProtocol", "SMTPCore"]
        ),
        .target(
            name: "Configuration",
            dependencies: ["Addresses", "Octets", "PolicyProtocol", "System", "TOMLKit"]
        ),
        .target(name: "KarmaRecords", dependencies: ["Addresses", "PolicyProtocol"]),
        .target(name: "CertificatePaths", dependencies: ["COpenSSL", crypto]),
        .target(name: "SignatureKeys", dependencies: ["COpenSSL"]),
        .target(name: "DKIM", dependencies: ["DomainNames", "Octets", "SignatureKeys", crypto]),
        .target(
            name: "DKIMKeys",
            dependencies: ["DKIM", "DomainNames", "Octets", "SignatureKeys", "System"]
        ),
        .target(
            name: "Certificates",
            dependencies: [
                "CertificatePaths", "Configuration", "System", crypto, nioCore, nioSSL,
            ]
        ),
        .target(name: "ServiceLog", dependencies: ["Configuration", "System", logging]),
        .target(name: "RESP"),
        .target(name: "SQLite", dependencies: ["CSQLite"]),
        .target(
            name: "Stores",
            dependencies: [
                "Certificates", "Configuration", "PolicyProtocol", "RESP", "SQLite", "System",
                crypto, nioCore, nioPosix, nioSSL,
            ]
        ),
        .target(
            name: "PolicyKit",
            dependencies: [
                "Addresses", "Certificates", "Configuration", "DNSResolver", "DomainNames", "JSON",
                "Octets", "PolicyProtocol", "ServiceLog", "Stores", "System",
                arguments, crypto, logging, nioCore, nioPosix, signals,
            ]
        ),
        .target(
            name: "HTTPClient",
            dependencies: ["Certificates", "PolicyKit", nioCore, nioHTTP1, nioPosix, nioSSL]
        ),
        .target(name: "Archives", dependencies: ["CArchive"]),
        .target(name: "Patterns", dependencies: ["CPCRE2"]),
        .target(name: "PasswordHashes", dependencies: ["CCrypt"]),
        .target(
            name: "PolicyKitTesting",
            dependencies: ["Configuration", "PolicyKit", "SMTPCore", "Stores", logging, nioPosix]
        ),
        .target(
            name: "StandardPlugins",
            dependencies: [
                "Archives", "CertificatePaths", "Certificates", "Configuration", "DKIM", "DKIMKeys",
                "DMARC", "DomainNames", "HTTPClient", "KarmaRecords", "LDAPClient", "MaxMind",
                "Octets", "PasswordHashes", "Patterns", "PolicyKit", "PublicSuffixes", "SASLprep",
                "SCRAM", "SignatureKeys", "SPF", "System",
                logging, nioConcurrency, nioCore, nioPosix, nioSSL, nioTLS,
            ],
            path: "Sources/Plugins",
            exclude: manuals
        ),
        .executableTarget(
            name: "PolicyWorker",
            dependencies: ["PolicyKit", "StandardPlugins"]
        ),
        .executableTarget(
            name: "BenchWorker",
            dependencies: ["PolicyKit"],
            path: "bench/BenchWorker"
        ),
        .executableTarget(
            name: "FaultyWorker",
            dependencies: ["PolicyKit"],
            path: "Tests/FaultyWorker"
        ),
        .executableTarget(
            name: "StoreClient",
            dependencies: [
                "Configuration", "PolicyKitTesting", "PolicyProtocol", "Stores", "System", nioCore,
                nioPosix,
            ],
            path: "Tests/StoreClient"
        ),
        .target(name: "AllocationCount", path: "bench/AllocationCount"),
        .executableTarget(
            name: "MicroBench",
            dependencies: ["AllocationCount", "JSON", "PolicyProtocol", "SMTPCore"],
            path: "bench/Micro"
        ),
        .target(
            name: "SessionPlay",
            dependencies: ["JSON", "PolicyCore", "PolicyProtocol", "SMTPCore"],
            path: "Tests/SessionPlay"
        ),
        .target(name: "PoolSimulator", dependencies: ["PoolCore"], path: "Tests/PoolSimulator"),
        .target(
            name: "SessionSimulator",
            dependencies: [
                "JSON", "PolicyCore", "PolicyProtocol", "PoolCore", "PoolSimulator", "SMTPCore",
                "SessionPlay",
            ],
            path: "Tests/SessionSimulator"
        ),
        .executableTarget(
            name: "SessionSimulation",
            dependencies: ["PoolSimulator", "SessionSimulator"],
            path: "bench/SessionSimulation"
        ),
        .executableTarget(
            name: "PoolSimulation",
            dependencies: ["PoolCore", "PoolSimulator"],
            path: "bench/PoolSimulation"
        ),
        .executableTarget(
            name: "Fuzz",
            dependencies: [
                "Addresses", "DKIM", "JSON", "Octets", "PolicyKit", "PolicyProtocol",
                "ProxyProtocol", "RESP", "SMTPCore", "SPF",
                "StandardPlugins", "TLSRecords",
            ],
            path: "Tests/Fuzz",
            exclude: ["corpus"]
        ),
        .executableTarget(
            name: "Frontend",
            dependencies: [
                "Addresses", "CertificatePaths", "Certificates", "Configuration", "JSON", "Octets",
                "PolicyCore", "PolicyProtocol", "PoolCore", "ProxyProtocol", "SASLprep", "SMTPCore",
                "ServiceLog", "System", "TLSRecords", arguments, logging, nioCore, nioPosix, nioSSL,
                nioTLS, signals,
            ]
        ),
        .executableTarget(
            name: "Gatepost",
            dependencies: [
                "Addresses", "Archives", "Certificates", "CLinux", "Configuration", "DKIM",
                "DKIMKeys", "DMARC",
                "DNSResolver", "DomainNames", "JSON", "KarmaRecords", "PolicyKit", "PolicyProtocol",
                "ServiceLog", "SignatureKeys", "StandardPlugins", "Stores", "System", arguments,
                logging, nioCore, nioPosix,
            ]
        ),
        .target(
            name: "ProtocolTables",
            dependencies: ["JSON", "PolicyProtocol"],
            path: "Tests/ProtocolTables"
        ),
        .testTarget(name: "JSONTests", dependencies: ["JSON", "Octets"]),
        .testTarget(
            name: "PolicyProtocolTests",
            dependencies: ["JSON", "Octets", "PolicyProtocol", "ProtocolTables"]
        ),
        .testTarget(name: "ProxyProtocolTests", dependencies: ["Addresses", "ProxyProtocol"]),
        .testTarget(
            name: "SPFTests",
            dependencies: ["Addresses", "DomainNames", "SPF", "System"],
            exclude: ["rfc7208_lines.py"]
        ),
        .testTarget(name: "TLSRecordsTests", dependencies: ["TLSRecords"]),
        .testTarget(name: "CertificatePathsTests", dependencies: ["CertificatePaths", "System"]),
        .testTarget(
            name: "DKIMTests",
            dependencies: ["DKIM", "DomainNames", "Octets", "SignatureKeys", "System", crypto]
        ),
        .testTarget(name: "CertificatesTests", dependencies: ["Certificates"]),
        .testTarget(name: "SCRAMTests", dependencies: ["Octets", "SCRAM"]),
        .testTarget(name: "SASLprepTests", dependencies: ["SASLprep"]),
        .testTarget(name: "LDAPClientTests", dependencies: ["LDAPClient"]),
        .testTarget(name: "PublicSuffixesTests", dependencies: ["DomainNames", "PublicSuffixes"]),
        .testTarget(name: "DMARCTests", dependencies: ["DMARC", "DomainNames", "PublicSuffixes"]),
        .testTarget(name: "OctetsTests", dependencies: ["Octets"]),
        .testTarget(name: "PoolCoreTests", dependencies: ["PoolCore", "PoolSimulator"]),
        .testTarget(name: "SMTPCoreTests", dependencies: ["Octets", "SMTPCore"]),
        .testTarget(
            name: "ConfigurationTests",
            dependencies: ["Configuration", "PolicyProtocol", "System"]
        ),
        .testTarget(
            name: "ServiceLogTests",
            dependencies: ["Configuration", "JSON", "ServiceLog", logging]
        ),
        .testTarget(name: "SystemTests", dependencies: ["System"]),
        .testTarget(name: "GatepostTests", dependencies: ["Gatepost"]),
        .testTarget(
            name: "PolicyCoreTests",
            dependencies: [
                "JSON", "PolicyCore", "PolicyProtocol", "ProtocolTables", "SMTPCore", "SessionPlay",
                "SessionSimulator",
            ]
        ),
        .testTarget(
            name: "FrontendTests",
            dependencies: [
                "Addresses", "Configuration", "Frontend", "JSON", "PolicyCore", "PolicyKit",
                "PolicyKitTesting", "PoolCore", "PolicyProtocol", "ProtocolTables", "SMTPCore",
                "System", nioCore, nioEmbedded, nioPosix,
            ]
        ),
        .testTarget(name: "RESPTests", dependencies: ["RESP"]),
        .testTarget(
            name: "StoresTests",
            dependencies: [
                "Configuration", "PolicyKitTesting", "PolicyProtocol", "RESP", "SQLite", "Stores",
                "System", nioCore, nioPosix,
            ]
        ),
        .testTarget(
            name: "PolicyKitTests",
            dependencies: [
                "Configuration", "JSON", "Octets", "PolicyKit", "PolicyKitTesting",
                "PolicyProtocol",
                "ProtocolTables", "Stores", "System", logging, nioCore, nioPosix,
            ]
        ),
        .testTarget(
            name: "HTTPClientTests",
            dependencies: [
                "Certificates", "HTTPClient", "PolicyKit", "PolicyKitTesting", "System", nioCore,
                nioEmbedded, nioPosix, nioSSL,
            ]
        ),
        .testTarget(
            name: "PluginsTests",
            dependencies: [
                "Addresses", "Archives", "CertificatePaths", "DKIM", "DKIMKeys", "DMARC",
                "DNSResolver", "DomainNames", "KarmaRecords", "LDAPClient", "MaxMind", "Octets",
                "PasswordHashes", "Patterns", "PolicyKit", "PolicyKitTesting", "SCRAM",
                "SignatureKeys", "StandardPlugins", "System", logging, nioCore,
                nioPosix,
            ]
        ),
    ],
    swiftLanguageModes: [.v6]
)

for target in package.targets where target.type != .system {
    target.swiftSettings = [
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
        .treatAllWarnings(as: .error),
    ]
}

// scripts/fuzz: counts which code an input reaches, in our own targets alone.
if Context.environment["GATEPOST_FUZZ"] != nil {
    for target in package.targets where target.type != .system {
        target.swiftSettings? += [
            .define("FUZZING"), .unsafeFlags(["-sanitize=fuzzer", "-enable-testing"]),
        ]
        if target.name == "Fuzz" {
            target.linkerSettings = [.unsafeFlags(["-sanitize=fuzzer", "-use-ld=lld"])]
        }
    }
}
