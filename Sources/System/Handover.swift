import CLinux
import Glibc

/// Hands octets to a program, and waits for what it does with them.
///
/// The program has what it is to take when all octets are written and the last descriptor is closed: then
/// it may act, and it is given time to end. Before that it is killed with all that it started while its
/// descriptors are still open, so that it never takes a part for the whole.
///
/// Its calls block: for a thread of its own, in which SIGPIPE is blocked or handled.
package struct Handover {
    /// Octets for one descriptor of the program.
    package struct Input {
        /// The descriptor's number in the program: 0, or 1.
        package let number: Int32
        /// The next octets, not empty; `nil` at the end.
        package let next: () throws -> [UInt8]?

        package init(number: Int32, next: @escaping () throws -> [UInt8]?) {
            self.number = number
            self.next = next
        }
    }

    /// How the program ended by itself.
    package struct Ending: Sendable, Equatable {
        /// The exit code, or the number of the signal below 0.
        package let code: Int32
        /// Whether it took all octets; if not, it closed a descriptor, or ended, before.
        package let hasTakenAll: Bool
        /// The first octets that it wrote to standard output, if that is no input, then those of standard
        /// error.
        package let output: [UInt8]
        package let messages: [UInt8]

        package init(code: Int32, hasTakenAll: Bool, output: [UInt8], messages: [UInt8]) {
            self.code = code
            self.hasTakenAll = hasTakenAll
            self.output = output
            self.messages = messages
        }
    }

    package enum Failure: Error {
        case system(SystemError)
        /// What an input threw. The program was killed, and had not all octets.
        case input(any Error)
        /// It was killed because it took longer than it may.
        ///
        /// If it had all octets by then, nothing is known about what it did.
        case tooLate(hasTakenAll: Bool)
    }

    /// The most octets that are kept of output and messages each; the rest is read and dropped.
    package static let maximumOutput = 4_096

    /// The path of the program, then its arguments.
    package let words: [String]
    /// Variables that it gets beside those of this process.
    package let environment: [String: String]
    /// Until when it has to have all octets.
    package let inputDeadline: ContinuousClock.Instant
    /// Until when it has to end.
    package let deadline: ContinuousClock.Instant

    package init(
        words: [String],
        environment: [String: String] = [:],
        inputDeadline: ContinuousClock.Instant,
        deadline: ContinuousClock.Instant
    ) {
        self.words = words
        self.environment = environment
        self.inputDeadline = inputDeadline
        self.deadline = deadline
    }

    /// Runs the program.
    ///
    /// It leads a process group of its own; what it leaves running goes on, if the program
    /// itself ended in time.
    ///
    /// - Parameter inputs: Written one after the other. Standard output is read if it is no input.
    /// - Returns: How it ended by itself.
    /// - Throws: ``Failure``.
    package func run(_ inputs: [Input]) throws(Failure) -> Ending {
        var run = try Run(self, inputs)
        defer { run.close() }
        return try run.finish()
    }

    /// One run: the program's process and our ends of its descriptors.
    private struct Run {
        private let handover: Handover
        private let process: Int32
        /// Readable when the process has ended.
        private let processDescriptor: Int32
        private var inputs: [(end: Int32, next: () throws -> [UInt8]?)]
        /// The octets that come next, and how many of them are written.
        private var piece: [UInt8] = []
        private var written = 0
        private var hasTakenAll = true
        private var output: (end: Int32, octets: [UInt8])
        private var messages: (end: Int32, octets: [UInt8])

        init(_ handover: Handover, _ inputs: [Input]) throws(Failure) {
            self.handover = handover
            var ours: [Int32] = []
            var theirs: [Int32] = []
            var hasStarted = false
            defer {
                for end in theirs { Glibc.close(end) }
                if !hasStarted { for end in ours { Glibc.close(end) } }
            }
            do throws(SystemError) {
                var files: [(number: Int32, file: Spawn.File)] = []
                self.inputs = []
                for input in inputs {
                    let ends = try Spawn.makePipe()
                    ours.append(ends.write)
                    theirs.append(ends.read)
                    files.append((input.number, .copy(of: ends.read)))
                    self.inputs.append((ends.write, input.next))
                }
                self.output = (-1, [])
                if !inputs.contains(where: { $0.number == 1 }) {
                    let ends = try Spawn.makePipe()
                    ours.append(ends.read)
                    theirs.append(ends.write)
                    files.append((1, .copy(of: ends.write)))
                    self.output.end = ends.read
                }
                let ends = try Spawn.makePipe()
                ours.append(ends.read)
                theirs.append(ends.write)
                files.append((2, .copy(of: ends.write)))
                self.messages = (ends.read, [])
                if !inputs.contains(where: { $0.number == 0 }) { files.append((0, .nothing)) }
                for end in ours {
                    _ = fcntl(end, F_SETFL, O_NONBLOCK)
                }
                self.process = try Spawn.start(
                    handover.words,
                    files: files,
                    closesFrom: 3,
                    isApart: true,
                    environment: handover.environment
                )
            } catch {
                throw .system(error)
            }
            hasStarted = true
            self.processDescriptor = gatepost_pidfd(self.process)
        }

        /// Closes what is still open.
        ///
        /// The process has been waited for.
        mutating func close() {
            for (end, _) in self.inputs { Glibc.close(end) }
            for end in [self.output.end, self.messages.end, self.processDescriptor] where end >= 0 {
                Glibc.close(end)
            }
        }

        mutating func finish() throws(Failure) -> Ending {
            guard self.processDescriptor >= 0 else {
                let code = errno
                self.killAll()
                throw .system(SystemError("watch", self.handover.words.first ?? "", code))
            }
            while true {
                let isFeeding = !self.inputs.isEmpty
                let limit = isFeeding ? self.handover.inputDeadline : self.handover.deadline
                let left = ContinuousClock.now.duration(to: limit) / .milliseconds(1)
                guard left > 0 else {
                    self.killAll()
                    throw .tooLate(hasTakenAll: !isFeeding && self.hasTakenAll)
                }
                if isFeeding {
                    try self.fill()
                    // From here on the other deadline counts.
                    if self.inputs.isEmpty { continue }
                }
                if try self.wait(milliseconds: Int32(clamping: Int64(left.rounded(.up)))) {
                    let code = Spawn.wait(for: self.process)
                    Self.read(&self.output, pieces: Self.lastPieces)
                    Self.read(&self.messages, pieces: Self.lastPieces)
                    return Ending(
                        code: code,
                        hasTakenAll: self.hasTakenAll && self.inputs.isEmpty,
                        output: self.output.octets,
                        messages: self.messages.octets
                    )
                }
            }
        }

        /// Gets the next octets, and closes inputs that have none any more.
        private mutating func fill() throws(Failure) {
            while self.written == self.piece.count, let input = self.inputs.first {
                do {
                    if let piece = try input.next() {
                        self.piece = piece
                        self.written = 0
                        continue
                    }
                } catch {
                    self.killAll()
                    throw .input(error)
                }
                self.endInput()
            }
        }

        private mutating func endInput() {
            guard !self.inputs.isEmpty else { return }
            Glibc.close(self.inputs.removeFirst().end)
            self.piece = []
            self.written = 0
        }

        /// Waits until something can be done, and does it.
        ///
        /// - Returns: Whether the process has ended.
        private mutating func wait(milliseconds: Int32) throws(Failure) -> Bool {
            let input = self.inputs.first?.end ?? -1
            var entries = [
                pollfd(fd: self.processDescriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: input, events: Int16(POLLOUT), revents: 0),
                pollfd(fd: self.output.end, events: Int16(POLLIN), revents: 0),
                pollfd(fd: self.messages.end, events: Int16(POLLIN), revents: 0),
            ]
            guard poll(&entries, nfds_t(entries.count), milliseconds) >= 0 || errno == EINTR else {
                let code = errno
                self.killAll()
                throw .system(SystemError("wait for", self.handover.words.first ?? "", code))
            }
            let happened = entries.map { $0.revents != 0 }
            if happened[2] { Self.read(&self.output) }
            if happened[3] { Self.read(&self.messages) }
            // The end of the process last: what it wrote before, and took, counts.
            if happened[1], !happened[0] { self.write(to: input) }
            return happened[0]
        }

        private mutating func write(to end: Int32) {
            let count = self.piece.withUnsafeBytes { octets in
                let rest = UnsafeRawBufferPointer(rebasing: octets[self.written...])
                return retrying { Glibc.write(end, rest.baseAddress, rest.count) }
            }
            if count >= 0 {
                self.written += count
            } else if errno != EAGAIN {
                // The program wants no more of this.
                self.hasTakenAll = false
                self.endInput()
            }
        }

        /// What the program left in a pipe is at most so many pieces; another process may write on.
        private static let lastPieces = 2

        /// Reads what there is, at most so many pieces of 64 KiB; at the end the descriptor is closed.
        private static func read(_ stream: inout (end: Int32, octets: [UInt8]), pieces: Int = 1) {
            for _ in 0..<pieces where stream.end >= 0 {
                let chunk = DescriptorCalls.read(stream.end)
                if chunk == nil, errno == EAGAIN { return }
                if let chunk, !chunk.isEmpty {
                    stream.octets += chunk.prefix(Handover.maximumOutput - stream.octets.count)
                } else {
                    Glibc.close(stream.end)
                    stream.end = -1
                }
            }
        }

        /// Kills the program and what it started, while its inputs are open.
        private func killAll() {
            kill(-self.process, SIGKILL)
            _ = Spawn.wait(for: self.process)
        }
    }
}
