import PolicyProtocol
import Testing

/// What arrives in the middle of a turn waits for its own.
@Suite struct ArrivalQueueTests {
    @Test func `what arrives alone is handled at once`() {
        var queue = ArrivalQueue<Int>()
        for number in 1...3 {
            let turn = [queue.arrived(number), queue.next()]
            #expect(turn == [number, nil])
        }
        #expect(!queue.hasEnded)
    }

    @Test func `what arrives meanwhile waits, in order`() {
        var queue = ArrivalQueue<Int>()
        let first = [queue.arrived(1), queue.arrived(2), queue.arrived(3)]
        #expect(first == [1, nil, nil])
        let second = [queue.next(), queue.arrived(4)]
        #expect(second == [2, nil], "the turn of 2 is not over")
        let rest = [queue.next(), queue.next(), queue.next()]
        #expect(rest == [3, 4, nil])
        let another = queue.arrived(5)
        #expect(another == 5)
    }

    @Test func `an end between turns is handled at once, one within a turn after it`() {
        var quiet = ArrivalQueue<Int>()
        let isDueAtOnce = quiet.ended()
        #expect(isDueAtOnce)
        var busy = ArrivalQueue<Int>()
        let first = busy.arrived(1)
        let isDueMeanwhile = busy.ended()
        let next = busy.next()
        #expect(first == 1 && next == nil)
        #expect(!isDueMeanwhile && busy.hasEnded)
    }
}
