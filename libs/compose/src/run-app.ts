import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gate } from '@flotilla/access'
import { HealthDefinition } from '@flotilla/api/grpc/health/v1/health'
import { createBus } from '@flotilla/bus'
import type { Config } from '@flotilla/config'
import { startEmbeddedNats, startEmbeddedRedis } from '@flotilla/embedded'
import { addReflection, createHealthService } from '@flotilla/health'
import { joinControlGroup, setOomScore } from '@flotilla/linux'
import { createLogger, type Logger, requestLog } from '@flotilla/log'
import { clusterSecret, createMetadata } from '@flotilla/metadata'
import { createMetrics } from '@flotilla/metrics'
import { type CallRecord, createRpcServer } from '@flotilla/rpc'
import { helpText, readCommandLine } from './command-line.ts'
import { isForClients, isForPeers, routeToServices } from './gateway.ts'
import { createHost } from './host.ts'
import { lockDirectory } from './instance-lock.ts'
import { collectBuffersYoung } from './memory-policy.ts'
import { createNetwork, onlyLocal } from './network.ts'
import type { Part } from './part.ts'
import { parts } from './parts/index.ts'
import { onlyPeers } from './peers.ts'
import { reloadOnHangup } from './reload.ts'
import { throughEndpoint, throughNode } from './through.ts'

export interface AppOptions {
  /** Name in logs, messages and in the addresses of the configuration. */
  readonly name: string
  /** One line for --help. */
  readonly about: string
  readonly parts: readonly Part[]
  /** Whether it starts a redis-server and nats-server of its own when no address is given. */
  readonly embedsStores?: boolean
  /** Whether it listens on the node socket and passes on to other processes what it does not serve itself. */
  readonly isGateway?: boolean
}

/** Milliseconds that running calls get when the process is told to stop. */
const grace = 2_000

const descriptors = () => readFileSync(fileURLToPath(import.meta.resolve('@flotilla/api/descriptors.binpb')))
const program = fileURLToPath(new URL('../../../tools/standalone', import.meta.url))

/**
 * Runs an app until SIGTERM or SIGINT: reads the command line, connects, builds the parts, listens, and closes all of it
 * in reverse. A failure to start is one clear line on stderr and exit status 1.
 */
export async function runApp(options: AppOptions, argv: readonly string[] = process.argv.slice(2)): Promise<void> {
  try {
    const given = readCommandLine(argv)
    if (given === undefined) {
      process.stdout.write(helpText(options.name, options.about))
      return
    }
    await start(options, given.config, given.listen, () => readCommandLine(argv)?.config)
  } catch (error) {
    process.stderr.write(`flotilla ${options.name}: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exit(1)
  }
}

async function start(
  options: AppOptions,
  config: Config,
  listen: string | undefined,
  readAgain: () => Config | undefined,
): Promise<void> {
  collectBuffersYoung()
  // Before anything is started, which inherits both.
  if (config.process.oomScore !== 0) setOomScore(config.process.oomScore)
  if (config.process.cgroup !== '') joinControlGroup(config.process.cgroup)
  // Whoever is told to stop while it starts stops when it has started.
  const stopped = stopSignal()
  await using resources = new AsyncDisposableStack()
  const logger = createLogger({ level: config.logLevel, name: options.name })
  resources.use(reloadOnHangup(readAgain, config, logger))
  mkdirSync(config.root, { recursive: true, mode: 0o711 })
  mkdirSync(config.state, { recursive: true, mode: 0o711 })
  if (options.embedsStores) resources.use(await lockDirectory(config.root))

  const network = resources.use(createNetwork(config, logger))
  const stores = await openStores(options, config, logger, resources)
  const metadata = resources.use(
    await createMetadata({
      url: stores.redis,
      tls: config.redisTls,
      origin: config.nodeName,
      directEvents: true,
      // An embedded store is on a socket of this process's own.
      soleWriter: stores.owned,
      replicas: config.redisReplicas,
    }),
  )
  const bus = resources.use(
    await createBus({
      url: stores.nats,
      tls: config.natsTls,
      credentials: config.natsCredentials,
      name: `flotilla ${options.name} ${config.nodeName}`,
    }),
  )
  const metrics = createMetrics()
  if (config.metricsAddress !== '') onlyLocal(config.metricsAddress)
  const scraped = config.metricsAddress === '' ? undefined : resources.use(await metrics.listen(config.metricsAddress))

  const logRequest = requestLog(logger)
  const server = createRpcServer({
    observe: (record: CallRecord) => {
      metrics.observe(record)
      logRequest(record)
    },
    admit(call, target, caller) {
      const admission = gate(call, target, caller)
      if (!options.isGateway) return admission
      const isSocket = caller.certificate === undefined
      const through = isSocket ? throughNode : throughEndpoint
      return { ...admission, call: through(admission.call, config.nodeName, target.definition.fullName) }
    },
  })
  const peerServer =
    options.isGateway && config.cluster.advertise !== ''
      ? createRpcServer({
          observe: logRequest,
          admit: onlyPeers(await clusterSecret(metadata), config.cluster.advertise),
        })
      : undefined
  const host = resources.use(
    createHost({
      config,
      logger,
      metrics,
      metadata,
      bus,
      server,
      network,
      peerServer,
      socket: config.address,
      program,
    }),
  )
  for (const part of options.parts) await part.build(host)

  const health = createHealthService()
  server.add(HealthDefinition, health)
  const here = new Set(options.parts.flatMap((part) => part.serves.map((definition) => definition.fullName)))
  if (options.isGateway) routeToServices(server, config.services, network, here)
  const routed = options.isGateway ? parts.flatMap((part) => part.serves).filter(isForClients) : []
  addReflection(
    server,
    descriptors(),
    new Set([...here, ...routed.map((definition) => definition.fullName), HealthDefinition.fullName]),
  )
  const address = options.isGateway ? `unix://${config.address}` : (listen ?? config.services[options.name])
  if (address === undefined)
    throw new Error(`no address to listen on: give --listen, or services.${options.name} in the configuration`)
  if (peerServer !== undefined) {
    routeToServices(peerServer, config.services, network, here, isForPeers)
    await peerServer.listen(config.cluster.advertise, { tls: network.tls })
    resources.defer(() => peerServer.close(0))
  }
  resources.defer(() => server.close(grace))
  const bound = await network.listen(server, address)
  const endpoint =
    options.isGateway && config.cluster.endpoint !== ''
      ? await network.listen(server, config.cluster.endpoint)
      : undefined
  await host.listening()
  logger.info({ address: bound, endpoint, metrics: scraped?.address, node: config.nodeName, pid: process.pid }, 'ready')
  const signal = await stopped
  health.stopServing()
  logger.info({ signal }, 'stopping')
}

/** Where the metadata store and the message bus are, started here when they are ours to run. */
async function openStores(
  options: AppOptions,
  config: Config,
  logger: Logger,
  resources: AsyncDisposableStack,
): Promise<{ redis: string; nats: string; owned: boolean }> {
  const missing = (what: string) =>
    new Error(
      `no address of the ${what}: give --${what === 'metadata store' ? 'redis' : 'nats'} or set it in the configuration`,
    )
  if (!options.embedsStores) {
    if (config.redisUrl === '') throw missing('metadata store')
    if (config.natsUrl === '') throw missing('message bus')
    return { redis: config.redisUrl, nats: config.natsUrl, owned: false }
  }
  const onRestart = (name: string, reason: string) =>
    logger.warn({ server: name, reason }, 'embedded server ended; starting it again')
  const [redis, nats] = await Promise.all([
    config.redisUrl !== ''
      ? undefined
      : startEmbeddedRedis({ data: join(config.root, 'redis'), run: join(config.state, 'redis'), onRestart }),
    config.natsUrl !== ''
      ? undefined
      : startEmbeddedNats({ data: join(config.root, 'nats'), run: join(config.state, 'nats'), onRestart }),
  ])
  if (redis) resources.use(redis)
  if (nats) resources.use(nats)
  return { redis: redis?.url ?? config.redisUrl, nats: nats?.url ?? config.natsUrl, owned: redis !== undefined }
}

function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal))
  })
}
