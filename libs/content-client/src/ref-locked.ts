/** Reason of the UNAVAILABLE with which Write is refused while another writer has the ingest, on whichever node. */
export const refLocked = 'ref-locked'
