export { dockerArchive, ociArchive } from './archive.ts'
export { type Certificate, makeCertificate } from './certificate.ts'
export { estargzOf } from './estargz.ts'
export {
  type Fault,
  type FaultRule,
  type FaultyRegistry,
  type FaultyRegistryOptions,
  type SeenRequest,
  startFaultyRegistry,
} from './faulty-registry.ts'
export { type Exchange, type ExchangeOptions, exchange } from './http-exchange.ts'
export {
  buildImage,
  busyboxEntries,
  type ContainerConfig,
  type Descriptor,
  descriptorOf,
  type ImageOptions,
  indexOf,
  type TestImage,
} from './image.ts'
export {
  type Blob,
  blobOf,
  type Compression,
  compress,
  digestOf,
  epoch,
  jsonBlob,
  type LayerBlob,
  type LayerEntry,
  layerOf,
  tarOf,
} from './layer.ts'
export { leftBehind, nothing, type SnapshotOptions, type SystemSnapshot, systemSnapshot } from './leaks.ts'
export { startNats, type TestNats } from './nats.ts'
export { startNatsCluster, type TestNatsCluster } from './nats-cluster.ts'
export { firstWords, freePort, outsideAddress } from './ports.ts'
export { pushImage } from './push.ts'
export { startRedis, type TestRedis, type TestRedisOptions } from './redis.ts'
export { startRedisCluster, type TestRedisCluster } from './redis-cluster.ts'
export { type RegistryOptions, startRegistry, type TestRegistry } from './registry.ts'
export { startSentinels, type TestSentinels } from './sentinel.ts'
export { type ServerOptions, type ServerProcess, startServer, tailOf } from './server-process.ts'
export { generateStack } from './stack.ts'
export { mountsBelow, type TempWorld, type TempWorldOptions, tempWorld, unmountBelow } from './temp-world.ts'
export { hasThinPools, startThinPool, type ThinPool } from './thin-pool.ts'
export { startTokenServer, type TokenRequest, type TokenServer, type TokenServerOptions } from './token-server.ts'
export { generateTree, seeded, type TreeOptions } from './tree.ts'
export { type UntilOptions, until } from './until.ts'
