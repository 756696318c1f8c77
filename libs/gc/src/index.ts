export { type Collector, type CollectorDeps, createCollector } from './collector.ts'
export type { CollectorLogger } from './cycle.ts'
export type { Nodes } from './disks.ts'
export type { ScheduleSettings } from './schedule.ts'
