import Configuration
import Glibc
import NIOCore
import NIOPosix
import PolicyCore
import PolicyProtocol
import SMTPCore
import System

// MARK: - What arrives

extension SMTPSessionHandler {
    func headerArrived(_ bodyOffset: Int) {
        self.storeContent()
        guard let message = self.message else { return }
        let bodyOffset = message.closeHeader(at: bodyOffset)
        self.policy.headerRead(
            message.head(bodyOffset),
            bodyOffset: bodyOffset,
            size: message.size
        )
    }

    func messageArrived(_ facts: SMTPMessageFacts) {
        self.storeContent()
        self.policy.messageRead(
            size: self.message?.size ?? facts.octets,
            date: self.server.date(),
            failure: self.message?.failure?.spoolFailure
        )
    }
}

// MARK: - The message's files

extension SMTPSessionHandler {
    /// Puts all of the message into a file that workers of `pool` can read.
    func storeMessage(for pool: WorkerPool) {
        guard let message = self.message else { return self.messageStored(for: pool) }
        guard message.path == nil, message.failure == nil else {
            return self.messageStored(for: pool)
        }
        message.store { self.messageStored(for: pool) }
    }

    private func messageStored(for pool: WorkerPool) {
        if let folder = pool.messageFolder { _ = self.message?.path(in: folder) }
        let (failure, now) = (self.message?.failure?.spoolFailure, self.server.nowNS)
        self.tell { $0.messageStored(failure, now: now, &$1) }
    }

    /// The file that workers of `pool` are told; `nil` if the message is not whole in it, or could not
    /// be given a name in that pool's own folder.
    func messagePath(for pool: WorkerPool) -> String? {
        guard pool.profile.wants.needs.contains(.message), let message = self.message,
            self.policy.isMessageComplete
        else { return nil }
        return pool.messageFolder.map { message.path(in: $0) } ?? message.path
    }

    /// Copies the file that a worker left in its pool's folder.
    func takeReplacement(_ path: String, from pool: WorkerPool, owner: UInt32) {
        let server = self.server
        let folder = server.spool.outFolder(pool: pool.name)
        let destination = server.spool.newMessagePath()
        let limits = self.limits
        server.threads.runIfActive(eventLoop: server.loop) {
            try ReplacementMessage.take(
                path,
                folder: folder,
                owner: owner,
                limit: limits.maximumMessageOctets,
                headerLimits: (limits.maximumHeaderOctets, limits.maximumHeaderFields),
                destination: destination
            )
        }
        .assumeIsolated()
        .whenComplete { self.replacementTaken($0, destination) }
    }

    private func replacementTaken(
        _ result: Result<ReplacedMessage, any Error>,
        _ destination: String
    ) {
        let replacement: PolicySession.Replacement
        var size = 0
        switch result {
        case .success(let message):
            size = message.size
            replacement = .taken(message)
        case .failure(let refusal as ReplacementMessage.Refusal):
            replacement = .refused("\(refusal)")
        case .failure(let error):
            let error = error as? SystemError ?? SystemError("\(error)", destination, EIO)
            replacement = .failed(error.spoolFailure)
        }
        let now = self.server.nowNS
        self.tell { policy, actions in
            // The next pool may be asked about the message at once: the copy is it by then.
            if policy.replacementTaken(replacement, now: now, &actions) {
                self.message?.replace(with: destination, size: size)
            } else if case .taken = replacement {
                self.server.removeSoon(destination)
            }
        }
    }
}

extension SystemError {
    /// What it means for the message.
    var spoolFailure: SpoolFailure {
        SpoolFailure(
            isDiskFull: self.code == ENOSPC || self.code == EDQUOT,
            description: "\(self)"
        )
    }
}
