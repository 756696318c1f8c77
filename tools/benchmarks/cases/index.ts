import type { Case } from '../case.ts'
import { metadata } from './metadata.ts'
import { run } from './run.ts'

/** In the order of the table. */
export const cases: readonly Case[] = [run, metadata]
