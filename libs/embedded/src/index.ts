export { startEmbeddedNats } from './nats.ts'
export { type EmbeddedOptions, type EmbeddedServer, startEmbeddedRedis } from './redis.ts'
export { type SupervisedServer, supervise } from './supervise.ts'
