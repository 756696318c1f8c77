import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'

/** A loopback port that nobody listened on a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
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
