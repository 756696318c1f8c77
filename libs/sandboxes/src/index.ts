export { type ControllerDeps, createSandboxController, type NodeSandboxesClient } from './controller.ts'
export { createSandboxStore, type StoreDeps } from './store.ts'
