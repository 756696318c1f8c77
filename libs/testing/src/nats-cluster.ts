import { join } from 'node:path'
import { firstWords, freePort } from './ports.ts'
import { type ServerProcess, startServer } from './server-process.ts'
import { tempWorld } from './temp-world.ts'

/** Three nats-servers with JetStream that know each other. */
export interface TestNatsCluster extends AsyncDisposable {
  /** All addresses, with commas. */
  readonly url: string
  /** The servers by port. */
  readonly servers: ReadonlyMap<number, ServerProcess>
}

const host = '127.0.0.1'

/** Starts Debian's nats-server three times on loopback ports. JetStream is there when they have chosen a leader. */
export async function startNatsCluster(): Promise<TestNatsCluster> {
  await using stack = new AsyncDisposableStack()
  const world = stack.use(await tempWorld({ name: 'nats-cluster', tmpfs: true }))
  const members = []
  for (const name of ['n1', 'n2', 'n3'])
    members.push({ name, port: await freePort(host), route: `nats://${host}:${await freePort(host)}` })
  const routes = members.map(({ route }) => route).join(',')
  const servers = new Map<number, ServerProcess>()
  for (const { name, port, route } of members) {
    const server = await startServer({
      command: 'nats-server',
      args: [
        ...['--server_name', name, '--addr', host, '--port', String(port)],
        ...['--jetstream', '--store_dir', world.join(name)],
        ...['--cluster_name', 'flotilla', '--cluster', route, '--routes', routes],
      ],
      log: join(world.path, `${name}.log`),
      ready: async () => (await firstWords({ host, port })).startsWith('INFO '),
    })
    servers.set(port, stack.use(server))
  }
  const owned = stack.move()
  return {
    url: members.map(({ port }) => `nats://${host}:${port}`).join(','),
    servers,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
