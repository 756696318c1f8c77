import type { ApplyRequest, ApplyResult } from './apply/apply-layer.ts'
import type { CompareRequest } from './compare/compare-trees.ts'
import type { CompareResult } from './compare/layer-output.ts'

// What the pool and its workers say to each other. A worker has one job at a time.

export type Job = ({ readonly kind: 'apply' } & ApplyRequest) | ({ readonly kind: 'compare' } & CompareRequest)

export type ToWorker =
  | { readonly kind: 'run'; readonly id: number; readonly job: Job }
  | { readonly kind: 'cancel'; readonly id: number }

export type JobResult = ApplyResult | CompareResult | undefined

export type FromWorker = { readonly id: number } & (
  | { readonly kind: 'done'; readonly result: JobResult }
  | { readonly kind: 'failed'; readonly message: string; readonly code: string | undefined }
)
