# Whether what is there follows from the study, where Snakemake does not know; after all rules, whose params are compared.

if workflow.is_main_process:
    KNOWN = {folder: validity.remembered(folder) for folder in (RESULTS, SHARED)}
    if found := validity.contradictions(
        claims(),
        lambda file: KNOWN[RESULTS if file.startswith(f"{RESULTS}/") else SHARED],
    ):
        raise WorkflowError("\n".join(found))
    for folder in (folder for folder, known in KNOWN.items() if not known):
        validity.adopt(folder)
    date_back_what_other_images_made()
