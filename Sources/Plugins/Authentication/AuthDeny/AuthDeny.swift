package import PolicyKit

/// Declines every login.
///
/// See README.md.
package struct AuthDeny: AuthHook {
    package static let name = "auth/authdeny"

    package init(configuration: PluginConfiguration) {}

    package func subscription(at hook: Hook) -> Subscription? { Subscription(isIdempotent: true) }

    package func auth(_ event: AuthEvent) async throws -> Answer {
        event.skip("no login is let in here")
    }
}
