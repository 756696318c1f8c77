import { firstWords, type ServerProcess, startServer, type TempWorld } from '@flotilla/testing'

/** A Redis that has each write on disk before it answers, as ours has. */
export async function durableRedis(world: TempWorld): Promise<ServerProcess & { readonly socket: string }> {
  const socket = world.join('redis.sock')
  const always = ['--appendonly', 'yes', '--appendfsync', 'always', '--save', '']
  const server = await startServer({
    command: 'redis-server',
    args: ['--port', '0', '--unixsocket', socket, '--dir', world.path, ...always],
    log: world.join('redis.log'),
    ready: async () => (await firstWords({ path: socket }, 'PING\r\n')).startsWith('+PONG'),
  })
  return Object.assign(server, { socket })
}
