import PolicyProtocol

extension EventLine: EventPicture {
    /// What the plugins of ``hook`` may take: a little less than the frontend waits, so that it still
    /// hears which plugin was too slow.
    ///
    /// A notification has no deadline of its own.
    var pluginTime: Duration {
        guard let deadlineMS = self.deadlineMS else { return .seconds(60) }
        let milliseconds = max(0, deadlineMS)
        return .milliseconds(milliseconds - min(milliseconds / 20, 250))
    }
}
