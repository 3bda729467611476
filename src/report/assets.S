/* The bytes of the report's assets; the paths come from CMakeLists.txt. */
    .section .rodata
    .macro asset name, path
    .global \name
    .global \name\()_end
\name:
    .incbin "\path"
\name\()_end:
    .byte 0
    .endm

    asset rl_asset_chart_js, CHART_JS
    asset rl_asset_report_js, REPORT_JS
    asset rl_asset_report_css, REPORT_CSS

    .section .note.GNU-stack, "", %progbits
