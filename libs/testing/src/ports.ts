import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { networkInterfaces } from 'node:os'

/** A port, of the loopback address unless another is given, that nobody listened on a moment ago. */
export async function freePort(address = '127.0.0.1'): Promise<number> {
  const server = createServer().listen(0, address)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Sends a text to an address (`{path}` or `{host, port}`) and gives the first piece of the answer. */
export async function firstWords(
  address: { path: string } | { host: string; port: number },
  say = '',
): Promise<string> {
  const socket = connect(address)
  try {
    await once(socket, 'connect')
    if (say !== '') socket.write(say)
    const [piece] = (await once(socket, 'data')) as [Buffer]
    return piece.toString()
  } finally {
    socket.destroy()
  }
}

/** An IPv4 address of this machine that is not a loopback one: clients treat registries on those specially. */
export function outsideAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  const found = all.find(({ family, internal }) => family === 'IPv4' && !internal)
  if (found === undefined) throw new Error('this machine has no IPv4 address besides the loopback one')
  return found.address
}
