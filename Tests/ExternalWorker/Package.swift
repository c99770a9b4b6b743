// swift-tools-version: 6.2
import PackageDescription

let policyKit = Target.Dependency.product(name: "PolicyKit", package: "gatepost")
let testing = Target.Dependency.product(name: "PolicyKitTesting", package: "gatepost")
let standardPlugins = Target.Dependency.product(name: "StandardPlugins", package: "gatepost")

// A package outside Gatepost. ExternalWorker is one file: what a person who writes a plugin begins with.
let package = Package(
    name: "external-worker",
    dependencies: [.package(name: "gatepost", path: "../..")],
    targets: [
        .executableTarget(name: "ExternalWorker", dependencies: [policyKit]),
        .executableTarget(name: "MixedWorker", dependencies: [policyKit, standardPlugins]),
        .executableTarget(
            name: "CopiedWorker",
            dependencies: [policyKit],
            exclude: ["ResolvableFromhost/README.md", "SpamAssassin/README.md"],
            swiftSettings: [.enableUpcomingFeature("InternalImportsByDefault")]
        ),
        .testTarget(name: "CopiedWorkerTests", dependencies: ["CopiedWorker", policyKit, testing]),
    ],
    swiftLanguageModes: [.v6]
)
