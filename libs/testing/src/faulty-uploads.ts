import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Blob, blobOf } from './layer.ts'

/** The push half of a registry of our own: keeps what arrives of an upload, so that a broken one can go on. */
export interface Uploads {
  /** Answers a request for an upload; false when it is for something else. `cut` resets the connection after so many bytes. */
  answer(request: IncomingMessage, url: URL, response: ServerResponse, cut: number | undefined): boolean
}

const uploadPath = /^\/v2\/(.+)\/blobs\/uploads\/([^/]*)$/

export function createUploads(keep: (blob: Blob) => void): Uploads {
  const uploads = new Map<string, Buffer>()

  async function receive(request: IncomingMessage, id: string, cut: number | undefined): Promise<boolean> {
    let received = 0
    for await (const piece of request) {
      const bytes: Buffer = cut === undefined ? piece : piece.subarray(0, cut - received)
      received += bytes.length
      uploads.set(id, Buffer.concat([uploads.get(id) ?? Buffer.alloc(0), bytes]))
      if (cut !== undefined && received >= cut) {
        request.socket.resetAndDestroy()
        return false
      }
    }
    return true
  }

  async function take(request: IncomingMessage, url: URL, response: ServerResponse, id: string, cut?: number) {
    const held = uploads.get(id)
    const finish = (status: number, headers: Record<string, string> = {}) => response.writeHead(status, headers).end()
    const reach = (size: number) => ({ location: url.pathname, range: `0-${Math.max(size - 1, 0)}` })
    if (held === undefined) return finish(404)
    if (request.method === 'GET') return finish(204, reach(held.length))
    const range = /^(\d+)-\d+$/.exec(request.headers['content-range'] ?? '')
    if (range !== null && Number(range[1]) !== held.length) return finish(416, reach(held.length))
    if (!(await receive(request, id, cut))) return
    const bytes = uploads.get(id) ?? Buffer.alloc(0)
    if (request.method === 'PATCH') return finish(202, reach(bytes.length))
    const blob = blobOf('application/octet-stream', bytes)
    if (blob.digest !== url.searchParams.get('digest')) return finish(400)
    uploads.delete(id)
    keep(blob)
    return finish(201, { 'docker-content-digest': blob.digest })
  }

  return {
    answer(request, url, response, cut) {
      const match = uploadPath.exec(url.pathname)
      if (match === null) return false
      const [, repository, id = ''] = match
      if (id === '') {
        const fresh = randomUUID()
        uploads.set(fresh, Buffer.alloc(0))
        response.writeHead(202, { location: `/v2/${repository}/blobs/uploads/${fresh}` }).end()
      } else {
        // A client that goes away in the middle is what this is for.
        take(request, url, response, id, cut).catch(() => response.destroy())
      }
      return true
    },
  }
}
