import ArgumentParser
import Configuration
import DKIM
import DKIMKeys
import DNSResolver
import DomainNames
import NIOCore
import NIOPosix
import SignatureKeys
import System

/// `gatepost dkim`: makes the keys with which a domain signs, and compares them with the DNS.
struct DKIMCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dkim",
        abstract: "Makes keys that sign mail, and checks that the DNS has them.",
        discussion: """
            The keys of a domain are in the folder dkim/DOMAIN of the configuration, where the plugin dkim reads them. Exit \
            code 0: done; 1: a key is there already, or the DNS does not have it; 64: wrong arguments; 69: a file \
            cannot be written, or the DNS does not answer; 78: a mistake in worker.toml or in the folder.
            """,
        subcommands: [GenKey.self, Check.self]
    )

    /// The exit code where the answer is no.
    static let no = ExitCode(1)

    struct GenKey: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "genkey",
            abstract: "Makes a key, and prints the record for the DNS.",
            discussion: """
                Publish the record, wait until `gatepost dkim check` finds it, and only then let the plugin sign: it \
                does so as soon as the key is there. A domain may have an RSA and an Ed25519 key, with two selectors.
                """
        )

        @OptionGroup var place: DKIMPlace

        @Argument(help: "The domain that signs.")
        var domain: String

        @Argument(help: "A name for the key, as 2026a: a new one for each key.")
        var selector: String

        @Option(help: "rsa, which everybody knows, or ed25519.")
        var type = SignatureKeyKind.rsa

        @Option(help: "Bits of an RSA key: 1024 to 4096.")
        var bits = 2_048

        func run() throws {
            guard 1_024...4_096 ~= self.bits else {
                throw ValidationError("--bits must be from 1024 to 4096")
            }
            let configuration = try self.place.load()
            let domain = try self.place.domain(self.domain)
            guard
                let signing = SigningDomain(
                    domain: Array(domain.text.utf8),
                    selector: Array(self.selector.utf8)
                )
            else {
                throw ValidationError("\(self.selector) is no selector: take letters and digits")
            }
            guard let key = PrivateKey(generating: self.type, bits: self.bits) else {
                throw DKIMPlace.failed("no key can be made", ExitStatus.unavailable)
            }
            let folder = DKIMKeyFolder(
                path: "\(configuration.directory)/dkim/\(domain.text)",
                domain: domain
            )
            do throws(DKIMKeyError) {
                let files = DKIMKeyFiles(folder, signing, owner: configuration.user)
                StandardOutput.write(try files.write(key))
            } catch {
                let code = error.isAboutExistingKey ? 1 : ExitStatus.unavailable
                throw DKIMPlace.failed("\(error)", code)
            }
        }
    }

    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "check",
            abstract: "Says for each key of a domain whether the DNS has it."
        )

        @OptionGroup var place: DKIMPlace

        @Argument(help: "The domain that signs.")
        var domain: String

        @Argument(help: "Only the key with this name.")
        var selector: String?

        func run() throws {
            let configuration = try self.place.load()
            let domain = try self.place.domain(self.domain)
            let keys = try self.keys(domain, configuration)
            let resolver = try Self.resolver(configuration)
            let answers = try Self.answers(keys.map(\.0.keyName), resolver)
            var code: ExitCode?
            for ((signing, key), answer) in zip(keys, answers) {
                do throws(SignatureFailure) {
                    let record = try KeyRecord(answer)
                    guard record.key.octets == key.publicOctets else {
                        StandardOutput.write("\(signing.selector): the DNS has another key")
                        code = DKIMCommand.no
                        continue
                    }
                    StandardOutput.write("\(signing.selector): the DNS has this key")
                } catch {
                    StandardOutput.write("\(signing.selector): \(error.reason)")
                    let isCertain = error.result != .temperror
                    code = isCertain ? DKIMCommand.no : code ?? ExitCode(ExitStatus.unavailable)
                }
            }
            if let code { throw code }
        }

        private func keys(
            _ domain: DNSName,
            _ configuration: WorkerConfiguration
        ) throws -> [(SigningDomain, PrivateKey)] {
            let folders = DKIMKeyFolders(configuration.controlDirectories)
            do throws(DKIMKeyError) {
                var keys: [(SigningDomain, PrivateKey)] = []
                let entries = try folders.folder(of: domain, usesParents: false)?.entries() ?? []
                for entry in entries
                where self.selector == nil || self.selector == entry.domain.selector {
                    keys.append((entry.domain, try DKIMKeyFolder.key(at: entry.path)))
                }
                if !keys.isEmpty { return keys }
            } catch {
                throw DKIMPlace.failed("\(error)", ExitStatus.configuration)
            }
            let name = self.selector.map { " \($0)" } ?? ""
            StandardError.write("gatepost dkim: \(domain.text) has no key\(name)")
            throw DKIMCommand.no
        }

        private static func resolver(
            _ configuration: WorkerConfiguration
        ) throws -> UnboundResolver {
            let dns = configuration.dns
            do {
                return try UnboundResolver.shared(
                    DNSConfiguration(
                        servers: dns.servers.map { "[\($0.host)]:\($0.port)" },
                        trustAnchorFile: dns.trustAnchorFile,
                        timeout: .milliseconds(dns.timeoutMS)
                    )
                )
            } catch {
                throw DKIMPlace.failed("no resolver: \(error)", ExitStatus.unavailable)
            }
        }

        private static func answers(
            _ names: [DNSName],
            _ resolver: UnboundResolver
        ) throws -> [KeyAnswer] {
            let loop = MultiThreadedEventLoopGroup.singleton.any()
            return try loop.makeFutureWithTask {
                var answers: [KeyAnswer] = []
                for name in names {
                    switch await resolver.query(name, .txt, deadline: nil) {
                    case .records(let records):
                        answers.append(
                            .records(
                                records.compactMap {
                                    if case .text(let octets) = $0 { octets } else { nil }
                                }
                            )
                        )

                    case .nxdomain, .nodata: answers.append(.none)
                    case .failure: answers.append(.failed)
                    }
                }
                return answers
            }.wait()
        }
    }
}

extension SignatureKeyKind: ExpressibleByArgument {}

/// The configuration whose keys are meant.
struct DKIMPlace: ParsableArguments {
    @Option(help: "The configuration folder.")
    var config = "config"

    func load() throws -> WorkerConfiguration {
        do throws(ConfigurationErrors) {
            return try WorkerConfiguration.load(directory: self.config)
        } catch {
            for problem in error.errors {
                StandardError.write(FilePath.relativized(problem.description))
            }
            throw ExitCode(ExitStatus.configuration)
        }
    }

    func domain(_ text: String) throws -> DNSName {
        guard let domain = DNSName(text), !domain.isRoot, domain.text.contains(".") else {
            throw ValidationError("\(text) is no domain name")
        }
        return domain
    }

    static func failed(_ reason: String, _ code: Int32) -> ExitCode {
        StandardError.write("gatepost dkim: \(FilePath.relativized(reason))")
        return ExitCode(code)
    }
}
