import PoolCore

/// What the simulator knows of a worker, without asking the machine.
struct ModelWorker {
    enum Phase {
        case connected
        case ready
        case draining
    }

    struct Held {
        let eventID: Int64
        /// `nil` once no session waits for the answer.
        var ticket: PoolTicket?
        let fingerprint: UInt64
        var deadlineNS: UInt64
    }

    let id: WorkerID
    /// Which kind of worker, as the number in its name.
    let kind: Int
    var phase = Phase.connected
    var hello: PoolHello
    /// What it was sent and has not answered.
    var held: [Held] = []
    var lastEventID: Int64 = 0
    var isBlocked = false
    /// When it last said something, and when it was asked `ping` if it has said nothing since.
    var heardNS: UInt64 = 0
    var pingedNS: UInt64?
    /// It never answers.
    var isHung = false
    /// Its `drain` was answered.
    var isDrainAnswered = false
    /// The machine keeps it for its last answers only.
    var isQuarantined = false
    /// The machine asked to close it, and the owner has not yet.
    var isToBeClosed = false
    /// And why: it hangs.
    var isZombie = false

    func position(of eventID: Int64) -> Int? {
        self.held.firstIndex { $0.eventID == eventID }
    }
}

/// What the simulator knows of a ticket.
struct ModelTicket {
    var hook: UInt8
    let fingerprint: UInt64
    var deadlineNS: UInt64
    var latestDeadlineNS: UInt64
    var attempts = 0
    /// It was sent, or held back because of a full socket: newer tickets may have been sent
    /// meanwhile.
    var hasHadItsTurn = false
    /// A worker died while it held it, or died or hung while it held nothing but one with its
    /// fingerprint.
    var isSuspect = false
    /// Two workers died or hung while they held nothing but a question with its fingerprint, and no
    /// answer came in between.
    var isPoison = false
    /// The machine has asked for its fingerprint.
    var isKnown = false
    var losses = 0
    /// What the model's breaker answered when it was submitted.
    var admission = ModelBreaker.Admission.admitted
    /// A worker that may have begun it was lost, and did not say `idempotent`.
    var mustNotBeSentAgain = false
    /// The last worker handed it back (`started: false`).
    var handedBackBy: WorkerID?
    /// The worker that holds it; `nil` while it waits.
    var worker: WorkerID?
    /// The identity of that worker.
    var identity = ""
    /// The failures for which the simulator gave a reason.
    var mayFail: Set<PoolFailure> = []
}

/// Workers that died or hung while they held nothing but questions with one fingerprint.
struct ModelSuspicion {
    var deaths: Int
    var untilNS: UInt64
}

/// How the world behaves for a while; weights are steps out of 1,000.
struct Weather {
    var submit = 374
    var answer = 360
    var badAnswer = 10
    var handBack = 6
    var progress = 16
    var stale = 20
    var cancel = 20
    var connect = 20
    var lose = 4
    var drain = 3
    var block = 6
    /// In the other steps, time passes.
    var isLong = false
    var workers = 8
    var hungOneIn = 100

    static let all: [Weather] = [
        Weather(),
        // More questions than answers.
        Weather(submit: 480, answer: 300),
        // Many workers die.
        Weather(submit: 300, answer: 200, connect: 150, lose: 100, workers: 6),
        // Nearly all answers are bad.
        Weather(submit: 300, answer: 30, badAnswer: 300, connect: 40),
        // A rolling update without end.
        Weather(submit: 350, answer: 300, handBack: 40, connect: 90, drain: 60, workers: 12),
        // Workers hang, and do not read.
        Weather(submit: 200, answer: 60, block: 60, isLong: true, hungOneIn: 3),
        // Clients connect and leave.
        Weather(submit: 400, answer: 100, cancel: 300),
        // One worker, or none.
        Weather(submit: 300, answer: 250, connect: 15, lose: 30, isLong: true, workers: 1),
        // Forty workers.
        Weather(submit: 440, answer: 430, connect: 30, lose: 1, workers: 40),
    ]
}
