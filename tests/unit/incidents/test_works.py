"""What still works: measured, beside the trouble, or not said at all."""

from wedsync_apm.incidents.works import Watched, unmeasured, works_beside

FORM = Watched("Order form", "wedding_forms", "wedding_forms.form_submission_time", True)
GALLERY = Watched("Gallery", "wedding_galleries", "wedding_galleries.load_time", True)
SLOW_PAYMENTS = Watched("Payments", "wedding_payments", "wedding_payments.time", False)
PROBED = Watched("Website", "website", None, True)


def test_the_troubled_service_is_left_out_even_while_its_check_passes() -> None:
    services = (FORM, GALLERY, PROBED)
    assert works_beside(services, "wedding_forms.form_submission_time") == ("Gallery", "Website")
    assert works_beside(services, "wedding_forms.errors") == ("Gallery", "Website")
    assert works_beside(services, "*_forms.*") == ("Gallery", "Website")
    assert works_beside(services, "website.error_rate") == ("Order form", "Gallery")
    assert works_beside(services, None) == ("Order form", "Gallery", "Website")


def test_what_is_slow_or_not_known_is_not_named() -> None:
    assert works_beside((FORM, SLOW_PAYMENTS), "wedding_forms.form_submission_time") == ()
    assert works_beside((), "wedding_forms.form_submission_time") == ()


def test_fixed_words_never_speak_for_a_measured_service() -> None:
    claim = "Your gallery, messages and payments work as usual."
    assert unmeasured(claim, (FORM, GALLERY)) == ""
    assert unmeasured(claim, (FORM, SLOW_PAYMENTS)) == ""
    assert unmeasured("Orders still arrive", (FORM, GALLERY)) == "Orders still arrive"
    assert unmeasured(claim, ()) == claim
