import { bytesToString } from './bytes.ts'
import { blockSize, invalidHeader } from './entry.ts'
import { readDecimal, readNumber } from './numbers.ts'
import type { PaxRecords } from './pax.ts'

/** A run of data in a sparse file; between the runs are holes. */
export interface DataRun {
  readonly offset: number
  readonly length: number
}

/** Offset and size of the map entries in GNU's own format: 24 bytes each, four in the header, 21 in each further block. */
const gnuEntry = 24

export function gnuRuns(block: Uint8Array, start: number, count: number): DataRun[] {
  const runs: DataRun[] = []
  for (let index = 0; index < count; index++) {
    const at = start + index * gnuEntry
    if (block[at] === 0) break
    runs.push({ offset: readNumber(block, at, 12), length: readNumber(block, at + 12, 12) })
  }
  return runs
}

/** The map of pax sparse formats 0.0 and 0.1, `OFFSET,LENGTH,…`; undefined when there is none. */
export function paxRuns({ fields }: PaxRecords): DataRun[] | undefined {
  const map = fields.get('GNU.sparse.map')
  if (map === undefined) return undefined
  const numbers = map === '' ? [] : map.split(',').map(readDecimal)
  if (numbers.length % 2 !== 0) throw invalidHeader('sparse map of odd length')
  return pairs(numbers)
}

/** Whether the file's data begins with its map, as in pax sparse format 1.0. */
export function hasMapInData({ fields }: PaxRecords): boolean {
  return fields.get('GNU.sparse.major') === '1' && fields.get('GNU.sparse.minor') === '0'
}

/**
 * Reads a map of format 1.0 from the beginning of a file's data: decimal lines, their count first, padded to a block.
 * undefined when more bytes are needed.
 */
export function mapInData(bytes: Uint8Array): { runs: DataRun[]; length: number } | undefined {
  const numbers: number[] = []
  let start = 0
  let wanted = 1
  while (numbers.length < wanted) {
    const end = bytes.indexOf(0x0a, start)
    if (end < 0) return undefined
    numbers.push(readDecimal(bytesToString(bytes, start, end)))
    start = end + 1
    if (numbers.length === 1) {
      const count = numbers[0] ?? 0
      if (count < 0 || count > 1 << 20) throw invalidHeader('sparse map of impossible length')
      wanted = 1 + 2 * count
    }
  }
  const length = Math.ceil(start / blockSize) * blockSize
  return length > bytes.length ? undefined : { runs: pairs(numbers.slice(1)), length }
}

/** Refuses maps whose runs overlap, leave the file or do not add up to the stored bytes. */
export function checkRuns(runs: readonly DataRun[], size: number, stored: number): void {
  let end = 0
  let sum = 0
  for (const { offset, length } of runs) {
    if (offset < end || length < 0 || offset + length > size) throw invalidHeader('sparse map does not fit its file')
    end = offset + length
    sum += length
  }
  if (sum !== stored) throw invalidHeader('sparse map does not fit its data')
}

function pairs(numbers: readonly number[]): DataRun[] {
  const runs: DataRun[] = []
  for (let index = 0; index + 1 < numbers.length; index += 2) {
    runs.push({ offset: numbers[index] ?? 0, length: numbers[index + 1] ?? 0 })
  }
  return runs
}
