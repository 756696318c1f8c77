import type { Case } from '../case.ts'
import { collection } from './collection.ts'
import { content } from './content.ts'
import { events } from './events.ts'
import { growth } from './growth.ts'
import { idleness } from './idle.ts'
import { metadata } from './metadata.ts'
import { processes } from './processes.ts'
import { archives, pulls, unpack } from './pull.ts'
import { run } from './run.ts'
import { snapshots } from './snapshots.ts'

/** In the order of the table. */
export const cases: readonly Case[] = [
  ...pulls,
  unpack,
  ...archives,
  run,
  processes,
  metadata,
  content,
  events,
  collection,
  snapshots,
  idleness,
  growth,
]
