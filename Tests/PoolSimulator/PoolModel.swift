import PolicyPool

/// What the simulator knows of a worker, without asking the machine.
struct ModelWorker {
    enum Phase {
        case connected
        case ready
        case draining
    }

    struct Held {
        let eventID: Int64
        /// `nil` once nobody waits any more.
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
    /// It was sent, or held back at the last moment: younger ones may have been sent in the meantime.
    var hasHadItsTurn = false
    /// A worker died with it, or one ended with its like and nothing else.
    var isSuspect = false
    /// A worker ended with it and nothing else, and that was the second with its like that nobody
    /// answered in between.
    var isPoison = false
    /// The machine knows its fingerprint, because there was an occasion to ask for it.
    var isKnown = false
    var losses = 0
    /// What the breaker, as the model has it, said to it.
    var admission = ModelBreaker.Admission.admitted
    /// A worker that may have begun it was lost, and would not know it again.
    var mustNotBeSentAgain = false
    /// The last worker handed it back unbegun.
    var handedBackBy: WorkerID?
    /// Where it is; `nil` while it waits.
    var worker: WorkerID?
    /// Who that is, as its identity says.
    var identity = ""
    /// Failures for which the simulator itself gave cause.
    var mayFail: Set<PoolFailure> = []
}

/// What is remembered of a question with which workers died or hung while they had nothing else.
struct ModelSuspicion {
    var deaths: Int
    var untilNS: UInt64
}

/// How the world behaves for a while; weights out of 1,000 steps.
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
    /// What is left is time.
    var isLong = false
    var workers = 8
    var hungOneIn = 100

    static let all: [Weather] = [
        Weather(),
        // More is asked than answered.
        Weather(submit: 480, answer: 300),
        // Workers die like flies.
        Weather(submit: 300, answer: 200, connect: 150, lose: 100, workers: 6),
        // Nearly all of what is answered is wrong.
        Weather(submit: 300, answer: 30, badAnswer: 300, connect: 40),
        // A rolling update without end.
        Weather(submit: 350, answer: 300, handBack: 40, connect: 90, drain: 60, workers: 12),
        // They hang, and nobody reads.
        Weather(submit: 200, answer: 60, block: 60, isLong: true, hungOneIn: 3),
        // Clients come and go.
        Weather(submit: 400, answer: 100, cancel: 300),
        // Nobody is there, or one.
        Weather(submit: 300, answer: 250, connect: 15, lose: 30, isLong: true, workers: 1),
        // A crowd.
        Weather(submit: 440, answer: 430, connect: 30, lose: 1, workers: 40),
    ]
}
