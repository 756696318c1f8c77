export type { NodeTasksDeps } from './deps.ts'
export { createNodeTasks, type NodeTasks } from './node-tasks.ts'
export { installedRuntimes } from './runtime-binary.ts'
