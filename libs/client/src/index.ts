export {
  hasCode,
  RpcError,
  type ServiceDefinition,
  status,
  type TlsIdentity,
} from '@flotilla/rpc'
export type { Caller, CallSettings } from './caller.ts'
export { type Client, type ClientOptions, createClient } from './client.ts'
export { type ClusterEvent, decodeEvent, type EventsOptions, subscribe } from './events.ts'
export { type ExecOptions, exec } from './exec.ts'
export { type ImageConfig, readImage } from './image.ts'
export type { Exit, Process } from './process.ts'
export { hostPlatform, type PullOptions, type PullProgress, pull } from './pull.ts'
export { type Container, endTask, type RunOptions, run } from './run.ts'
export { services } from './services.ts'
export { type Mount, type Spec, type SpecOptions, specOf } from './spec.ts'
export { dateOf, timestampOf } from './time.ts'
