import { createServer, type ListenOptions, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import type { TlsIdentity } from './tls.ts'

/**
 * Of connections to other machines: the kernel asks a silent one after this many milliseconds whether it still is there.
 */
const options = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 }
/** Milliseconds for the handshake of TLS. */
const handshakeLimit = 20_000

/** A server that listens on the path of a socket or on `host:port`, and the port it got. */
export function bindServer(
  address: string,
  tls: TlsIdentity | undefined,
  connected: (socket: Socket) => void,
): Promise<{ readonly server: Server; readonly port: number }> {
  const server = tls ? tlsServer(tls, connected) : createServer(options, connected)
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(whereOf(address), () => {
      server.removeListener('error', reject)
      // A connection that could not be taken, for want of descriptors: the next one may be.
      server.on('error', () => {})
      const bound = server.address()
      resolve({ server, port: bound !== null && typeof bound === 'object' ? bound.port : 0 })
    })
  })
}

/** Both sides show a certificate: whoever has none, or one of another authority, does not get past the handshake. */
function tlsServer(tls: TlsIdentity, connected: (socket: Socket) => void): Server {
  const identity = () => ({ ca: tls.ca, cert: tls.cert, key: tls.key })
  const required = { requestCert: true, rejectUnauthorized: true, ALPNProtocols: ['h2'] }
  const server = createTlsServer(
    { ...identity(), ...options, ...required, handshakeTimeout: handshakeLimit },
    (socket: TLSSocket) => {
      if (socket.alpnProtocol === 'h2') connected(socket)
      else socket.destroy()
    },
  )
  const { provider } = tls
  if (provider !== undefined) {
    const renew = () => server.setSecureContext(identity())
    provider.addCaCertificateListener(renew)
    provider.addIdentityCertificateListener(renew)
    server.once('close', () => {
      provider.removeCaCertificateListener(renew)
      provider.removeIdentityCertificateListener(renew)
    })
  }
  return server
}

function whereOf(address: string): ListenOptions {
  if (address.startsWith('/')) return { path: address }
  const cut = address.lastIndexOf(':')
  const port = Number(address.slice(cut + 1))
  if (cut < 0 || !Number.isInteger(port)) throw new Error(`"${address}" is neither a path nor host:port`)
  return { host: address.slice(0, cut).replace(/^\[(.*)\]$/, '$1'), port }
}
