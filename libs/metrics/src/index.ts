export { addTaskMetrics, type TaskStats } from './cgroups/task-metrics.ts'
export { createMetrics, type Metrics, type Reading } from './metrics.ts'
