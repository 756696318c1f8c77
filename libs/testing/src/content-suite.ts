import { describe } from 'vitest'
import { type ContentStoreUnderTest, contentBench } from './content-suite/bench.ts'
import { committingCases } from './content-suite/committing.ts'
import { ingestsCases } from './content-suite/ingests.ts'
import { leasesCases } from './content-suite/leases.ts'
import { readingCases } from './content-suite/reading.ts'
import { recordsCases } from './content-suite/records.ts'
import { sharingCases } from './content-suite/sharing.ts'
import { writingCases } from './content-suite/writing.ts'

export type { ContentStoreUnderTest } from './content-suite/bench.ts'
export { type ContentWriter, contentWriter } from './content-writer.ts'

/**
 * What every content store must do. Call it from a test file of the implementation, with a store under policy `shared`:
 *
 *     contentSuite('on disk', async () => ({ content, createLease: … }))
 */
export function contentSuite(name: string, start: () => Promise<ContentStoreUnderTest>): void {
  describe(`content store: ${name}`, () => {
    const bench = contentBench(start)
    writingCases(bench)
    ingestsCases(bench)
    committingCases(bench)
    readingCases(bench)
    recordsCases(bench)
    leasesCases(bench)
    sharingCases(bench)
  })
}
