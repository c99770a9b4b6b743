// swift-tools-version: 6.2
import PackageDescription

// A package outside Gatepost whose worker is one file: what a person who writes a plugin begins with.
let package = Package(
    name: "external-worker",
    dependencies: [.package(name: "gatepost", path: "../..")],
    targets: [
        .executableTarget(
            name: "ExternalWorker",
            dependencies: [.product(name: "PolicyKit", package: "gatepost")]
        )
    ],
    swiftLanguageModes: [.v6]
)
