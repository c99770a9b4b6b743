import PolicyKit
import StandardPlugins

await Worker.main(
    name: "gatepost-worker",
    plugins: Worker.standardPlugins,
    retired: Worker.retiredPlugins
)
