/// A login of several steps, between a challenge and the client's answer to it.
struct LoginExchange {
    /// The place in the route of the pool that gave the challenge: it alone is asked about the answer.
    let pool: Int
    /// What the client is to answer.
    let challenge: [UInt8]
    /// What the worker wants back with the answer.
    let state: [UInt8]
}
