import { constants } from 'node:fs'
import { type FileHandle, mkdir, open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { LogPart, type NodeLogsDefinition } from '@flotilla/api/flotilla/stdio/v1/stdio'
import { type Call, notFound, requireNamespace, type ServiceOf, validateIdentifier } from '@flotilla/rpc'

export interface NodeLogsDeps {
  /** Where logs are kept, a directory for each namespace. */
  readonly directory: string
}

/** Bytes in one answer, which travels over the bus. */
const longestPart = 65_536

/** The logs of one node's containers. */
export function createNodeLogs({ directory }: NodeLogsDeps): ServiceOf<typeof NodeLogsDefinition> {
  /** Both are identifiers, so the path stays below the directory. */
  const pathOf = (containerId: string, call: Call) => {
    const namespace = requireNamespace(call)
    validateIdentifier(containerId, 'container id: ')
    return join(directory, namespace, `${containerId}.log`)
  }
  return {
    async prepare({ containerId }, call) {
      const path = pathOf(containerId, call)
      await mkdir(dirname(path), { recursive: true, mode: 0o700 })
      // A new container of the same name begins a new log.
      const file = await open(path, constants.O_CREAT | constants.O_TRUNC | constants.O_WRONLY, 0o600)
      await file.close()
      return { uri: pathToFileURL(path).href }
    },
    async read({ containerId, offset }, call) {
      await using file = await openLog(pathOf(containerId, call), containerId)
      const { size } = await file.stat()
      const from = offset < 0 ? await beginOfLines(file, size, -offset) : Math.min(offset, size)
      const bytes = Buffer.alloc(Math.min(longestPart, size - from))
      const { bytesRead } = await file.read(bytes, 0, bytes.length, from)
      return LogPart.fromPartial({ offset: from, data: bytes.subarray(0, bytesRead) })
    },
  }
}

async function openLog(path: string, containerId: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    throw notFound(`log of container "${containerId}"`, { cause: error })
  }
}

/** Where the last so many lines begin, looking backwards. */
async function beginOfLines(file: FileHandle, size: number, lines: number): Promise<number> {
  let left = lines
  for (let end = size; end > 0; ) {
    const from = Math.max(0, end - longestPart)
    const bytes = Buffer.alloc(end - from)
    await file.read(bytes, 0, bytes.length, from)
    for (let at = bytes.length - 1; at >= 0; at--) {
      // The end of the last line is not the beginning of one.
      if (bytes[at] === 0x0a && from + at !== size - 1 && --left === 0) return from + at + 1
    }
    end = from
  }
  return 0
}
