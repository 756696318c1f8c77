export { createMetrics, type Metrics, type Reading } from './metrics.ts'
