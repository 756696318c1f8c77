import { closeSync, constants, openSync } from 'node:fs'
import { Socket } from 'node:net'
import { errnoOf, mkfifo } from '@flotilla/linux'

/** Longest line that is passed on whole, characters. */
const maxLine = 16_384

/**
 * Opens the FIFO that a shim logs to, made if needed, and hands each line on. Open for writing too: so opening waits
 * for nobody, a shim never finds the FIFO without a reader, and the end of one writer does not end the log. A socket
 * reads it, for a read through the file system would hold one of Node's few threads for the life of the shim.
 */
export function openShimLog(path: string, onLine: (line: string) => void): Disposable {
  try {
    mkfifo(path, 0o700)
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error
  }
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
  let socket: Socket
  try {
    socket = new Socket({ fd, readable: true, writable: false })
  } catch (error) {
    closeSync(fd)
    throw error
  }
  let rest = ''
  socket.setEncoding('utf8')
  socket.on('error', () => {})
  socket.on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > maxLine) {
      lines.push(rest)
      rest = ''
    }
    for (const line of lines) if (line !== '') onLine(line)
  })
  socket.unref()
  return { [Symbol.dispose]: () => socket.destroy() }
}
