export { type Collected, collectNamespace } from './collect-namespace.ts'
export { type Collector, type CollectorDeps, createCollector } from './collector.ts'
export type { Nodes } from './physical.ts'
export type { ScheduleSettings } from './schedule.ts'
