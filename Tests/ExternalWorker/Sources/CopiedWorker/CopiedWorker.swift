import PolicyKit

/// Runs two of Gatepost's plugins, whose folders are here as links: they use nothing of Gatepost that
/// is not public.
@main
enum CopiedWorker {
    static func main() async {
        await Worker.main(
            name: "copied-worker",
            plugins: [ResolvableFromhost.self, SpamAssassin.self]
        )
    }
}
